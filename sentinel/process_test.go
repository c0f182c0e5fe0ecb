package sentinel

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// patient bounds what a test waits for. On a loaded machine a thread that was
// demoted, and that nobody may promote again, takes that long for a core dump.
const patient = 3 * time.Minute

// start runs a sentinel until the test ends, or skips the test where its
// source does not work.
func start(t *testing.T, opts Options) *Sentinel {
	t.Helper()
	s, err := New(opts)
	if err != nil && opts.Source != SourceAuto && opts.Source != SourcePidfd {
		t.Skip(err)
	}
	require.NoError(t, err)
	started := make(chan struct{})
	go func() { _ = s.Run(func() { close(started) }) }()
	<-started
	t.Cleanup(func() {
		s.Close()
		<-s.Done()
	})
	return s
}

// each runs a test with every source that works here.
func each(t *testing.T, f func(t *testing.T, s *Sentinel)) {
	for _, source := range []Source{SourceKernel, SourceConnector, SourcePidfd} {
		t.Run(source.String(), func(t *testing.T) {
			f(t, start(t, Options{Source: source, Realtime: true}))
		})
	}
}

// process is a child of the test.
type process struct {
	t          *testing.T
	pid, pidfd int
	stdin      io.WriteCloser
	stdout     *bufio.Reader
	notices    chan Notice
}

// run starts the test binary in one of childModes, and waits until it is ready.
func run(t *testing.T, mode string, change ...func(*exec.Cmd)) *process {
	t.Helper()
	p := &process{t: t, pidfd: -1, notices: make(chan Notice, 16)}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMode+"="+mode, "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, PidFD: &p.pidfd}
	for _, f := range change {
		f(cmd)
	}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p.pid, p.stdin, p.stdout = cmd.Process.Pid, stdin, bufio.NewReader(stdout)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // ECHILD where the test has reaped it
		stdin.Close()
		stdout.Close()
		unix.Close(p.pidfd)
	})
	require.Equal(t, "ready", p.line())
	return p
}

// line is the next line that the process says.
func (p *process) line() string {
	p.t.Helper()
	s, err := p.stdout.ReadString('\n')
	require.NoError(p.t, err)
	return strings.TrimSuffix(s, "\n")
}

func (p *process) tell() {
	p.t.Helper()
	_, err := fmt.Fprintln(p.stdin)
	require.NoError(p.t, err)
}

func (p *process) kill(s unix.Signal) {
	p.t.Helper()
	require.NoError(p.t, unix.Kill(p.pid, s))
}

func (p *process) watch(s *Sentinel) {
	p.t.Helper()
	require.NoError(p.t, s.Watch(p.pid, p.pidfd, func(n Notice) { p.notices <- n }))
}

// death collects the notices up to the last.
func (p *process) death() (all []Notice) {
	p.t.Helper()
	late := time.After(patient)
	for {
		select {
		case n := <-p.notices:
			all = append(all, n)
			if n.Kind == Exited {
				return all
			}
		case <-late:
			p.t.Fatalf("no death within %v, only %v", patient, all)
		}
	}
}

func kinds(all []Notice) (k []Kind) {
	for _, n := range all {
		k = append(k, n.Kind)
	}
	return k
}

// reap waits for the end of the process and takes its status.
func (p *process) reap() Status {
	p.t.Helper()
	require.True(p.t, readable(p.pidfd, patient))
	st, err := Reap(p.pidfd)
	require.NoError(p.t, err)
	return st
}
