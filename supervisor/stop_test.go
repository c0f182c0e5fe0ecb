package supervisor_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/proto/prism/launcher"
	"understudy/supervisor"
	"understudy/supervisor/config"
)

// A stop ends, whoever is in its way, and says who: here a binding whose end no
// engine confirms, since none can be started any more.
func TestStopIsBoundedWithoutAnEngine(t *testing.T) {
	dir, err := os.MkdirTemp("", "usd") // t.TempDir is too long for a socket's path
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "patterns", "echo"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "patterns", "echo", "manifest.yaml"), []byte(echoManifest(t, "echo", "")), 0o600))
	cfg := config.Default()
	cfg.PatternsDir, cfg.RuntimeDir, cfg.StateDir = filepath.Join(dir, "patterns"), filepath.Join(dir, "run"), filepath.Join(dir, "state")
	cfg.GRPCPort, cfg.MetricsPort, cfg.HealthPort = -1, -1, -1
	cfg.ProcessManager.StopTimeout = 500 * time.Millisecond
	cfg.SentinelExe = filepath.Join(dir, "engine")
	require.NoError(t, os.Symlink(program(t, "understudyd"), cfg.SentinelExe))

	s, err := supervisor.New(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-ended:
		t.Fatalf("it does not start: %v", err)
	}
	conn, err := grpc.NewClient("unix:"+s.Addrs().Unix, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	launching, stop := context.WithTimeout(ctx, patience)
	defer stop()
	_, err = launcher.NewPatternLauncherClient(conn).LaunchPattern(launching, &launcher.LaunchRequest{PatternName: "echo", Namespace: "acme"})
	require.NoError(t, err)

	require.NoError(t, os.Remove(cfg.SentinelExe))
	engine := childWith(t, "sentinel")
	require.NoError(t, unix.Kill(engine, unix.SIGKILL))
	cancel()
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "went on without binding ns:acme:echo")
	case <-time.After(patience):
		t.Fatal("the stop has no end")
	}
}

// childWith is our child whose command line has this word.
func childWith(t *testing.T, word string) int {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(b)) {
			command, _ := os.ReadFile("/proc/" + field + "/cmdline")
			if strings.Contains(string(command), "\x00"+word+"\x00") {
				pid := 0
				_, err := fmt.Sscan(field, &pid)
				require.NoError(t, err)
				return pid
			}
		}
	}
	t.Fatalf("no child with %q", word)
	return 0
}
