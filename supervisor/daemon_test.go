package supervisor_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/internal/cgroup"
	"understudy/internal/paths"
	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

// patience bounds every wait in these tests: what takes longer does not come.
const patience = 60 * time.Second

// resyncInterval is the daemon's.
const resyncInterval = 300 * time.Millisecond

// daemon is a running understudyd.
type daemon struct {
	t          *testing.T
	dir        string // run, state, patterns, tmp and log are in it
	cmd        *exec.Cmd
	exited     chan error
	address    string
	launcher   launcher.PatternLauncherClient
	supervisor service.SupervisorClient
	journal    *journal
}

// echoManifest is a manifest of the echo pattern; more is further lines.
func echoManifest(t *testing.T, name, more string) string {
	return fmt.Sprintf("name: %s\nprogram: %s\nisolation: namespace\nstart_timeout: 30s\ncrash_budget: {max: 0}\n%s\n", name, program(t, "echo"), more)
}

// startDaemon starts understudyd with these manifests, by pattern name, and
// stops it when the test ends.
func startDaemon(t *testing.T, manifests map[string]string) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "usd") // t.TempDir is too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{t: t, dir: dir, exited: make(chan error, 1)}
	for name, text := range manifests {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "patterns", name), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "patterns", name, "manifest.yaml"), []byte(text), 0o600))
	}
	require.NoError(t, os.Mkdir(d.mark(), 0o700))
	t.Cleanup(d.end)
	d.start()
	return d
}

// start starts the daemon's process and waits until it is ready.
func (d *daemon) start() {
	t := d.t
	t.Helper()
	d.cmd = d.command(d.path("run"), d.path("state"))
	log, err := os.OpenFile(d.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer log.Close()
	d.cmd.Stderr = log
	out, err := d.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, d.cmd.Start())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log ends:\n%s", d.logTail())
		}
	})
	line := make(chan string, 1)
	go func(cmd *exec.Cmd) {
		s, _ := bufio.NewReader(out).ReadString('\n')
		line <- s
		_, _ = io.Copy(io.Discard, out)
		d.exited <- cmd.Wait()
	}(d.cmd)
	select {
	case s := <-line:
		_, rest, ok := strings.Cut(s, "grpc=")
		require.True(t, ok, "not ready, but %q; log:\n%s", s, d.logTail())
		d.address, _, _ = strings.Cut(rest, " ")
	case <-time.After(patience):
		t.Fatal("understudyd is not ready")
	}
	conn := d.dial()
	d.launcher, d.supervisor = launcher.NewPatternLauncherClient(conn), service.NewSupervisorClient(conn)
	d.journal = keepJournal(t, d.supervisor)
}

// restart kills the daemon, as a crash would, and starts it again.
func (d *daemon) restart() {
	d.t.Helper()
	require.NoError(d.t, d.cmd.Process.Kill())
	<-d.exited
	d.start()
}

// command is an understudyd on the daemon's patterns, not started yet.
func (d *daemon) command(runtimeDir, stateDir string) *exec.Cmd {
	cmd := exec.Command(program(d.t, "understudyd"), "--patterns-dir", d.path("patterns"), "--runtime-dir", runtimeDir, "--state-dir", stateDir,
		"--grpc-port", "0", "--metrics-port", "0", "--health-port", "0",
		"--resync-interval", resyncInterval.String(), "--backoff-period", "10ms..100ms")
	// What it starts inherits TMPDIR: by it a stray process is known as ours.
	cmd.Env = append(os.Environ(), "TMPDIR="+d.mark(), "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (d *daemon) path(name string) string { return filepath.Join(d.dir, name) }
func (d *daemon) mark() string            { return d.path("tmp") }
func (d *daemon) pid() int                { return d.cmd.Process.Pid }

func (d *daemon) logTail() string {
	b, _ := os.ReadFile(d.path("log"))
	return string(b[max(0, len(b)-6000):])
}

// dial connects to the API until the test ends.
func (d *daemon) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	conn, err := grpc.NewClient(d.address, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { conn.Close() })
	return conn
}

// stop asks the daemon to stop and returns what its exit said.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(unix.SIGTERM)
	select {
	case err := <-d.exited:
		d.exited <- err
		return err
	case <-time.After(patience):
		return fmt.Errorf("does not stop")
	}
}

// end leaves nothing of the daemon behind, however the test went: workers of a
// life that was killed live on, and so do their control groups.
func (d *daemon) end() {
	if err := d.stop(); err != nil {
		d.t.Errorf("understudyd: %v", err)
		_ = d.cmd.Process.Kill()
	}
	d.eventually(func() error {
		left := marked(d.t, d.mark())
		for _, p := range left {
			_ = unix.Kill(p.pid, unix.SIGKILL)
		}
		if len(left) > 0 {
			return fmt.Errorf("%v lives", left)
		}
		return nil
	})
	cgroup.Sweep(paths.Instance(d.path("run")) + "-")
}

// stopClean stops the daemon and checks that nothing of it is left.
func (d *daemon) stopClean() {
	d.t.Helper()
	require.NoError(d.t, d.stop(), "exit status")
	require.Empty(d.t, marked(d.t, d.mark()), "processes are left")
	require.NoError(d.t, filepath.WalkDir(d.path("run"), func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type()&os.ModeSocket != 0 {
			d.t.Errorf("socket %s is left", path)
		}
		return err
	}))
	b, err := os.ReadFile(d.path("log"))
	require.NoError(d.t, err)
	require.NotContains(d.t, string(b), "DATA RACE")
}

func (d *daemon) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	d.t.Cleanup(cancel)
	return ctx
}

// launch binds a namespace.
func (d *daemon) launch(pattern, namespace string) *launcher.LaunchResponse {
	d.t.Helper()
	r, err := d.launcher.LaunchPattern(d.ctx(), &launcher.LaunchRequest{PatternName: pattern, Namespace: namespace})
	require.NoError(d.t, err)
	return r
}

// eventually waits until check finds nothing wrong.
func (d *daemon) eventually(check func() error) {
	d.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = check(); err == nil {
			return
		}
		<-time.After(20 * time.Millisecond) // the kernel tells nobody of another's descriptors
	}
	d.t.Fatalf("still after %v: %v", patience, err)
}

// full says which pool is not exactly full.
func (d *daemon) full() error {
	r, err := d.supervisor.ListPools(d.ctx(), &understudyv1.ListPoolsRequest{})
	if err != nil {
		return err
	}
	for _, p := range r.Pools {
		if p.Standby != p.SparesMin || p.Starting+p.Draining > 0 {
			return fmt.Errorf("pool is not full: %v", p)
		}
	}
	return nil
}
