package config

import (
	"time"

	"understudy/internal/paths"
)

// The default ports.
const (
	DefaultGRPCPort    = -1
	DefaultMetricsPort = 9982
	DefaultHealthPort  = 9983
)

// Default returns a configuration that works for this user as it is.
func Default() Config {
	runtime := paths.RuntimeDir()
	return Config{
		GRPCPort:         DefaultGRPCPort,
		PatternsDir:      "patterns",
		DefaultIsolation: "namespace",
		RuntimeDir:       runtime,
		StateDir:         paths.StateDir(runtime),
		ProcessManager: ProcessManager{
			ResyncInterval:      30 * time.Second,
			BackoffPeriod:       BackoffPeriod{Min: 100 * time.Millisecond, Max: 30 * time.Second},
			MaxConcurrentStarts: 4,
			StopTimeout:         30 * time.Second,
		},
		API: API{Mode: 0o600},
		Limits: Limits{Bindings: 10_000, BindingsPerNamespace: 2_000, Workers: 20_000, Watchers: 1024,
			WaitingLaunches: 10_000},
		Cgroups:     true,
		DeepQueues:  true,
		Sentinel:    Sentinel{Realtime: true, Source: "auto"},
		MetricsPort: DefaultMetricsPort,
		HealthPort:  DefaultHealthPort,
	}
}
