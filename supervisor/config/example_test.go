package config_test

import (
	"fmt"
	"os"
	"path/filepath"

	"understudy/supervisor/config"
)

func ExampleLoad() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "understudy.yaml")
	_ = os.WriteFile(file, []byte("launcher:\n  grpc_port: 0\n  process_manager: {backoff_period: 1s}\n"), 0o600)

	cfg, err := config.Load(file)
	if err != nil {
		panic(err)
	}
	fmt.Println(cfg.GRPCPort, cfg.ProcessManager.BackoffPeriod.Max, cfg.DefaultIsolation)
	// Output: 0 1m4s namespace
}
