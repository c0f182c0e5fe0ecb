package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"understudy/worker"
)

// asDaemon in the environment makes the test binary understudyd.
const asDaemon = "UNDERSTUDYD_TEST_AS_DAEMON"

// TestMain lets the test binary be the daemon and the pattern program too.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("UNDERSTUDY_CONTROL_FD") != "":
		err := worker.Run(context.Background(), worker.Pattern{Serve: func(ctx context.Context, a *worker.Assignment) error {
			_, err := a.Listener().Accept() // nobody connects
			return err
		}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(asStranger) != "":
		stranger(os.Getenv(asStranger))
		os.Exit(0)
	case os.Getenv(asDaemon) != "":
		main()
	}
	goleak.VerifyTestMain(m)
}

// process is an understudyd that was started.
type process struct {
	cmd    *exec.Cmd
	dir    string
	ready  map[string]string // the words of the ready line
	stdout io.ReadCloser
	stderr *output
}

// output is what a process wrote so far.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // closed when there is more; nil while nobody waits
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.buf.Write(p)
}

// await waits until a text was written n times.
func (o *output) await(t *testing.T, text string, n int) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		o.mu.Lock()
		found := strings.Count(o.buf.String(), text)
		if o.more == nil {
			o.more = make(chan struct{})
		}
		more := o.more
		o.mu.Unlock()
		if found >= n {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("%q was not written %d times:\n%s", text, n, o)
		}
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// home makes a short directory with one pattern, "idle".
func home(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "usd") // t.TempDir is too long for sockets
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "p", "idle"), 0o755))
	// Else the race detector keeps each worker for a second at its exit.
	manifest := fmt.Sprintf("name: idle\nprogram: %s\nenvironment: {GORACE: atexit_sleep_ms=0}\n", exe)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p", "idle", "manifest.yaml"), []byte(manifest), 0o644))
	return dir
}

// begin starts a daemon in dir with free ports and these flags, and does not
// wait for it to be ready.
func begin(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	d := &process{dir: dir, stderr: &output{}}
	d.cmd = exec.Command(exe, append([]string{
		"--patterns-dir", filepath.Join(dir, "p"), "--runtime-dir", filepath.Join(dir, "r"), "--state-dir", filepath.Join(dir, "s"),
		"--grpc-port", "0", "--metrics-port", "0", "--health-port", "0"}, flags...)...)
	d.cmd.Env = append(os.Environ(), asDaemon+"=1", "GORACE=atexit_sleep_ms=0")
	d.cmd.Stderr = d.stderr
	d.stdout, err = d.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, d.cmd.Start())
	t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	return d
}

// start begins a daemon and waits for its ready line.
func start(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	d := begin(t, dir, flags...)
	line, err := bufio.NewReader(d.stdout).ReadString('\n')
	require.NoError(t, err, "%s", d.stderr)
	words := strings.Fields(line)
	require.Equal(t, []string{"understudyd", "ready"}, words[:2])
	d.ready = map[string]string{}
	for _, w := range words[2:] {
		k, v, _ := strings.Cut(w, "=")
		d.ready[k] = v
	}
	return d
}

// stop sends a signal and returns the exit code.
func (d *process) stop(t *testing.T, sig unix.Signal) int {
	t.Helper()
	require.NoError(t, d.cmd.Process.Signal(sig))
	return d.wait(t)
}

func (d *process) wait(t *testing.T) int {
	t.Helper()
	_, err := io.Copy(io.Discard, d.stdout) // Wait closes it
	require.NoError(t, err)
	_ = d.cmd.Wait()
	return d.cmd.ProcessState.ExitCode()
}

// children returns the pids of a process's children (proc_pid_task(5)).
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	require.NoError(t, err)
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for _, word := range strings.Fields(string(text)) {
			n, err := strconv.Atoi(word)
			require.NoError(t, err)
			pids = append(pids, n)
		}
	}
	return pids
}

func TestReadyThenStopped(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		d := start(t, home(t))
		require.Equal(t, filepath.Join(d.dir, "r", "api.sock"), d.ready["unix"])
		for _, name := range []string{"grpc", "metrics", "health"} {
			c, err := net.Dial("tcp", d.ready[name])
			require.NoError(t, err, name)
			c.Close()
		}
		pids := children(t, d.cmd.Process.Pid)
		require.NotEmpty(t, pids, "the takeover engine at least")
		require.Zero(t, d.stop(t, sig), "%s", d.stderr)
		for _, pid := range pids {
			require.ErrorIs(t, unix.Kill(pid, 0), unix.ESRCH, "process %d is left", pid)
		}
		require.NoFileExists(t, d.ready["unix"])
	}
}

// SIGHUP is told of, and nothing else happens.
func TestSIGHUPDoesNotEndIt(t *testing.T) {
	d := start(t, home(t))
	for n := 1; n <= 2; n++ {
		require.NoError(t, d.cmd.Process.Signal(unix.SIGHUP))
		d.stderr.await(t, "SIGHUP does nothing here", n)
	}
	c, err := net.Dial("unix", d.ready["unix"])
	require.NoError(t, err)
	c.Close()
	require.Zero(t, d.stop(t, unix.SIGTERM), "%s", d.stderr)
}

func TestPortsCanBeOffAndFlagsWinOverTheFile(t *testing.T) {
	dir := home(t)
	config := configured(t, dir, "launcher:\n  runtime_dir: /proc/nowhere\n  grpc_port: 1\nmetrics: {port: 2}\nhealth: {port: 3}\n")
	d := start(t, dir, "--config", config, "--health-port", "-1", "--metrics-port", "-1")
	require.Equal(t, filepath.Join(dir, "r", "api.sock"), d.ready["unix"])
	require.NotEqual(t, "127.0.0.1:1", d.ready["grpc"])
	require.Equal(t, "off", d.ready["metrics"])
	require.Equal(t, "off", d.ready["health"])
	require.Zero(t, d.stop(t, unix.SIGTERM), "%s", d.stderr)
}

// What a flag turns off reaches the processes that would do it, and a flag wins
// over the file.
func TestPaceOff(t *testing.T) {
	dir := home(t)
	config := configured(t, dir, "launcher: {pace: {greeter: false}}\n")
	d := start(t, dir, "--config", config, "--pace-off", "dump_gate, demote")
	defer func() { require.Zero(t, d.stop(t, unix.SIGTERM), "%s", d.stderr) }()
	told := 0
	require.Eventually(t, func() bool {
		told = 0
		for _, pid := range children(t, d.cmd.Process.Pid) {
			if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil &&
				strings.Contains("\x00"+string(env), "\x00UNDERSTUDY_PACE=demote,dump_gate\x00") {
				told++
			}
		}
		return told >= 2 // the engine and a worker
	}, 20*time.Second, 10*time.Millisecond, "%d were told", told)
}

// configured writes a configuration file.
func configured(t *testing.T, dir, text string) string {
	t.Helper()
	file := filepath.Join(dir, "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestWhatIsNotUnderstoodIsOneLineAndCode2(t *testing.T) {
	dir := home(t)
	for _, tt := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--config", configured(t, dir, "launcher:\n  grpc_port: x\n")}, dir + `/config.yaml:2: launcher.grpc_port: must be a whole number, not "x"`},
		{[]string{"--config", dir + "/none.yaml"}, "open " + dir + "/none.yaml: no such file or directory"},
		{[]string{"--grpc-port", "70000"}, "grpc_port: 70000 is not between -1 and 65535"},
		{[]string{"--grpc-port", "x"}, `invalid argument "x" for "--grpc-port" flag`},
		{[]string{"--default-isolation", "tenant"}, `"tenant" is none of none, namespace, session`},
		{[]string{"--backoff-period", "1s..1ms"}, "process_manager.backoff_period.max: 1ms is not between 1s and 1h0m0s"},
		{[]string{"--runtime-dir", "/" + strings.Repeat("x", 100)}, "runtime_dir: "},
		{[]string{"--log-level", "loud"}, `--log-level: "loud" is none of debug, info, warn, error`},
		{[]string{"--patterns-dir", dir + "/none"}, "patterns_dir: cannot read " + dir + "/none: no such file or directory"},
		{[]string{"--patterns-dir", dir + "/config.yaml"}, "patterns_dir: cannot read " + dir + "/config.yaml: not a directory"},
		{[]string{"--pace-off", "demote,hurry"}, `"hurry" is none of report_delay`},
		{[]string{"--frobnicate"}, "unknown flag: --frobnicate"},
		{[]string{"serve"}, `unknown argument "serve"`},
	} {
		d := begin(t, dir, tt.flags...)
		require.Equal(t, 2, d.wait(t), tt.flags)
		said := d.stderr.String()
		require.Equal(t, 1, strings.Count(said, "\n"), said)
		require.True(t, strings.HasPrefix(said, "understudyd: "), said)
		require.Contains(t, said, tt.want)
	}
}

func TestWhatCannotBeginIsOneLineAndCode1(t *testing.T) {
	first := start(t, home(t))
	_, port, _ := net.SplitHostPort(first.ready["grpc"])
	for _, tt := range []struct {
		dir   string
		flags []string
		want  string
	}{
		{first.dir, nil, "in use by another supervisor"},
		{home(t), []string{"--grpc-port", port}, "listen tcp4 127.0.0.1:" + port + ": bind: address already in use"},
		{home(t), []string{"--metrics-port", port}, "metrics server: listen tcp4 127.0.0.1:" + port},
	} {
		d := begin(t, tt.dir, append(tt.flags, "--log-level", "error")...)
		require.Equal(t, 1, d.wait(t), tt.flags)
		said := strings.TrimSpace(d.stderr.String())
		require.NotContains(t, said, "\n")
		require.Contains(t, said, tt.want)
	}
	require.Zero(t, first.stop(t, unix.SIGTERM), "undisturbed: %s", first.stderr)
}

// A broken manifest is told of and left out; the others run.
func TestABrokenManifestDisturbsNobody(t *testing.T) {
	dir := home(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "p", "broken"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p", "broken", "manifest.yaml"), []byte("name: broken\nprogram: ./gone\n"), 0o644))
	d := start(t, dir)
	require.Zero(t, d.stop(t, unix.SIGTERM))
	require.Contains(t, d.stderr.String(), dir+"/p/broken/manifest.yaml:2: program: ")
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"--version"}, &out, nil))
	require.True(t, strings.HasPrefix(out.String(), "understudyd version "), out.String())
}
