package api_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/proto/prism/launcher"
	"understudy/proto/understudy/v1/service"
	"understudy/supervisor"
	"understudy/worker"
)

// TestMain lets the test binary be the pattern program too: started by a
// supervisor, it is a real worker.
func TestMain(m *testing.M) {
	if os.Getenv("UNDERSTUDY_CONTROL_FD") != "" {
		if err := worker.Run(context.Background(), worker.Pattern{Warm: warm, Serve: serve}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func warm(_ context.Context, config map[string]string) error {
	if config["broken"] != "" {
		fmt.Println("cannot find my model")
		os.Exit(3)
	}
	return nil
}

// serve tells each connection who answers.
func serve(ctx context.Context, a *worker.Assignment) error {
	for {
		c, err := a.Listener().Accept()
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "%d %s %d\n", os.Getpid(), a.ProcessID, a.Epoch)
		c.Close()
	}
}

// house is a running supervisor with clients on its unix socket.
type house struct {
	launcher   launcher.PatternLauncherClient
	supervisor service.SupervisorClient
	conn       *grpc.ClientConn
	addrs      supervisor.Addrs
	stop       func()
}

// open runs a supervisor with the patterns good, other (both level
// "namespace") and broken until the test ends.
func open(t *testing.T) *house {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "api") // t.TempDir is too long for sockets
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	for name, more := range map[string]string{"good": "", "other": "", "broken": "config: {broken: yes}\n"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "p", name), 0o755))
		// Else the race detector keeps each worker for a second at its exit.
		manifest := fmt.Sprintf("name: %s\nprogram: %s\nisolation: namespace\nenvironment: {GORACE: atexit_sleep_ms=0}\n%s", name, exe, more)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "p", name, "manifest.yaml"), []byte(manifest), 0o644))
	}
	cfg := supervisor.DefaultConfig()
	cfg.GRPCPort, cfg.MetricsPort, cfg.HealthPort = 0, -1, -1
	cfg.PatternsDir, cfg.RuntimeDir, cfg.StateDir = filepath.Join(dir, "p"), filepath.Join(dir, "r"), filepath.Join(dir, "s")
	s, err := supervisor.New(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-ended:
		cancel()
		t.Fatalf("supervisor ended at its start: %v", err)
	}
	h := &house{addrs: s.Addrs()}
	stopped := false
	h.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-ended)
		}
	}
	t.Cleanup(h.stop)
	h.conn = dial(t, "unix://"+h.addrs.Unix)
	h.launcher, h.supervisor = launcher.NewPatternLauncherClient(h.conn), service.NewSupervisorClient(h.conn)
	return h
}

func dial(t *testing.T, target string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// soon is a context for what should not take long.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// ask connects to a binding's address and returns what its worker says of
// itself: pid, process id and epoch.
func ask(t *testing.T, target string) string {
	t.Helper()
	c, err := net.Dial("unix", target[len("unix://"):])
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	said, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(said)
}
