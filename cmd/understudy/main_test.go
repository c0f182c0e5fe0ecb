package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"understudy/worker"
)

// asClient in the environment makes the test binary understudy.
const asClient = "UNDERSTUDY_TEST_AS_CLIENT"

// TestMain lets the test binary be the client and the pattern program too.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("UNDERSTUDY_CONTROL_FD") != "":
		if err := worker.Run(context.Background(), worker.Pattern{Warm: warm, Serve: serve}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(asClient) != "":
		main()
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

func serve(_ context.Context, a *worker.Assignment) error {
	for {
		c, err := a.Listener().Accept()
		if err != nil {
			return err
		}
		c.Close()
	}
}

// understudyd returns the path of the daemon's program, built once.
var understudyd = sync.OnceValues(func() (string, error) {
	// Below the test binary's folder, which go test removes.
	file := filepath.Join(filepath.Dir(os.Args[0]), "understudyd")
	build := exec.Command("go", "build", "-trimpath", "-o", file, "understudy/cmd/understudyd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, said)
	}
	return file, nil
})

// startDaemon runs understudyd, with the patterns good and
// broken, until the test ends. The commands that follow talk to it.
func startDaemon(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "usc") // t.TempDir is too long for sockets
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	exe, err := os.Executable()
	require.NoError(t, err)
	for name, more := range map[string]string{"good": "", "broken": "config: {broken: yes}\n"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "p", name), 0o755))
		// Else the race detector keeps each worker for a second at its exit.
		manifest := fmt.Sprintf("name: %s\nprogram: %s\nenvironment: {GORACE: atexit_sleep_ms=0}\n%s", name, exe, more)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "p", name, "manifest.yaml"), []byte(manifest), 0o644))
	}
	binary, err := understudyd()
	require.NoError(t, err)
	cmd := exec.Command(binary, "--patterns-dir", filepath.Join(dir, "p"), "--runtime-dir", filepath.Join(dir, "r"),
		"--state-dir", filepath.Join(dir, "s"), "--grpc-port", "0", "--metrics-port", "-1", "--health-port", "-1")
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(unix.SIGTERM))
		err := cmd.Wait()
		if text, _ := os.ReadFile(log.Name()); t.Failed() || err != nil {
			t.Logf("%s", text)
		}
		require.NoError(t, err)
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(line, "understudyd ready grpc="), line)
	t.Setenv(addrEnv, "unix://"+filepath.Join(dir, "r", "api.sock"))
}

// accepts reports whether something accepts at a target of the form
// unix:///path.
func accepts(t *testing.T, target string) {
	t.Helper()
	c, err := net.DialTimeout("unix", strings.TrimPrefix(target, "unix://"), 5*time.Second)
	require.NoError(t, err)
	c.Close()
}
