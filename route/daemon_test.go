package route_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
	"understudy/route"
)

// programs returns a folder with the programs of the module, built once.
var programs = sync.OnceValues(func() (string, error) {
	// Below the test binary's folder, which go test removes.
	dir := filepath.Join(filepath.Dir(os.Args[0]), "programs")
	build := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "understudy/cmd/understudyd", "understudy/patterns/echo", "understudy/route/exampleproxy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return dir, nil
})

func program(t testing.TB, name string) string {
	dir, err := programs()
	require.NoError(t, err)
	return filepath.Join(dir, name)
}

// started is a program that prints one line when it is ready and stops on
// SIGTERM, as it does at the end of the test.
func started(t testing.TB, cmd *exec.Cmd) (ready string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, exited := make(chan string, 1), make(chan error, 1)
	go func() {
		s, _ := bufio.NewReader(out).ReadString('\n')
		line <- s
		_, _ = io.Copy(io.Discard, out)
		exited <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		select {
		case err = <-exited:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			err = fmt.Errorf("does not stop: %w", <-exited)
		}
		if err != nil {
			t.Errorf("%s: %v", cmd.Path, err)
		}
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the log of %s ends with:\n%s", cmd.Path, text[max(0, len(text)-4000):])
		}
		log.Close()
	})
	select {
	case ready = <-line:
	case <-time.After(patience):
	}
	require.Contains(t, ready, "ready", "%s is not ready", cmd.Path)
	return ready
}

// daemon is an understudyd with the echo pattern.
type daemon struct {
	t          testing.TB
	socket     string // of the API
	launcher   launcher.PatternLauncherClient
	supervisor service.SupervisorClient
	standbys   int
}

// newDaemon starts one. more is further lines of echo's manifest.
func newDaemon(t testing.TB, more string) *daemon {
	dir, err := os.MkdirTemp("", "usr") // t.TempDir is too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{t: t, socket: filepath.Join(dir, "run", "api.sock"), standbys: 2}
	manifest := fmt.Sprintf("name: echo\nprogram: %s\nisolation: namespace\nstart_timeout: 30s\nspares: {min: %d, max: %d}\ncrash_budget: {max: 0}\n%s\n",
		program(t, "echo"), d.standbys, d.standbys, more)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "patterns", "echo"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "patterns", "echo", "manifest.yaml"), []byte(manifest), 0o600))
	started(t, exec.Command(program(t, "understudyd"), "--patterns-dir", filepath.Join(dir, "patterns"),
		"--runtime-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state"),
		"--grpc-port", "0", "--metrics-port", "0", "--health-port", "0"))
	cc, err := grpc.NewClient(d.target(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { cc.Close() })
	d.launcher, d.supervisor = launcher.NewPatternLauncherClient(cc), service.NewSupervisorClient(cc)
	return d
}

func (d *daemon) target() string { return "unix://" + d.socket }

// launch binds a namespace.
func (d *daemon) launch(namespace string) route.Key {
	r, err := d.launcher.LaunchPattern(within(d.t), &launcher.LaunchRequest{PatternName: "echo", Namespace: namespace})
	require.NoError(d.t, err)
	require.True(d.t, strings.HasPrefix(r.ProcessId, "ns:"), r.ProcessId)
	return route.Key{Pattern: "echo", Namespace: namespace}
}

// full waits until every standby is warm.
func (d *daemon) full() {
	ctx := within(d.t)
	require.Eventually(d.t, func() bool {
		r, err := d.supervisor.ListPools(ctx, &understudyv1.ListPoolsRequest{})
		return err == nil && len(r.Pools) == 1 && int(r.Pools[0].Standby) >= d.standbys
	}, patience, 2*time.Millisecond)
}
