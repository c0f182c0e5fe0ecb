package worker_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/control"
	understudyv1 "understudy/proto/understudy/v1"
)

// patience is how long anything may take here before the test gives up.
const patience = 30 * time.Second

type config map[string]string

// supervised is a worker whose supervisor is the test.
type supervised struct {
	t      testing.TB
	cmd    *exec.Cmd
	sock   *os.File // our end, to misbehave on
	conn   *control.Conn
	fence  *os.File
	output *output // complete when the worker has ended
	heir   int
	ended  bool
}

// lines starts the worker of lines_test.go.
func lines(t testing.TB, c config) *supervised {
	return supervise(t, c, exec.Command("/proc/self/exe"), asWorker+"=1")
}

// supervise starts a worker. It is dead and reaped, and its heir with it, at
// the end of the test.
func supervise(t testing.TB, c config, cmd *exec.Cmd, env ...string) *supervised {
	t.Helper()
	ours, theirs, err := control.Pair()
	require.NoError(t, err)
	// Room for some answers, not for any number.
	require.NoError(t, unix.SetsockoptInt(int(theirs.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<10))
	fence, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	require.NoError(t, err)
	text, err := json.Marshal(c)
	require.NoError(t, err)

	s := &supervised{t: t, cmd: cmd, sock: ours, fence: os.NewFile(uintptr(fence), "fence"), output: newOutput()}
	cmd.Env = append([]string{
		"UNDERSTUDY_CONTROL_FD=3", "UNDERSTUDY_FENCE_FD=4",
		"UNDERSTUDY_PATTERN=test", "UNDERSTUDY_WORKER=test-1", "UNDERSTUDY_CONFIG=" + string(text),
		"GORACE=atexit_sleep_ms=0", // no second's rest at each exit
	}, env...)
	cmd.ExtraFiles = []*os.File{theirs, s.fence}
	cmd.Stdout, cmd.Stderr = s.output, s.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	theirs.Close()
	s.conn, err = control.NewConn(ours)
	require.NoError(t, err)
	t.Cleanup(func() {
		if !s.ended {
			cmd.Process.Kill()
			s.status()
		}
		s.leave()
		s.fence.Close()
		if t.Failed() {
			out := s.output.String()
			t.Logf("output of %s begins with:\n%s", cmd.Path, out[:min(len(out), 2000)])
		}
	})
	return s
}

// leave closes the control socket, as a supervisor that dies does.
func (s *supervised) leave() {
	s.conn.Close()
	s.sock.Close()
}

// status waits for the end of the worker.
func (s *supervised) status() syscall.WaitStatus {
	s.t.Helper()
	s.ended = true
	late := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	defer late.Stop()
	_ = s.cmd.Wait() // the status says it all
	if s.heir > 0 {
		_, err := unix.Wait4(s.heir, nil, unix.WALL, nil)
		require.NoError(s.t, err, "reap the heir")
		s.heir = 0
	}
	return s.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// exits checks that the worker ends by itself with a code.
func (s *supervised) exits(code int) {
	s.t.Helper()
	status := s.status()
	require.Truef(s.t, status.Exited(), "ended by %v", status.Signal())
	require.Equal(s.t, code, status.ExitStatus())
}

// hear returns the worker's next message.
func (s *supervised) hear() *understudyv1.FromWorker {
	s.t.Helper()
	require.NoError(s.t, s.conn.SetDeadline(time.Now().Add(patience)))
	b, fds, err := s.conn.Recv()
	require.NoError(s.t, err)
	require.Empty(s.t, fds)
	m, err := control.DecodeFromWorker(b)
	require.NoError(s.t, err)
	return m
}

// hearsNothingMore checks that the worker has closed the control socket.
func (s *supervised) hearsNothingMore() {
	s.t.Helper()
	require.NoError(s.t, s.conn.SetDeadline(time.Now().Add(patience)))
	b, _, err := s.conn.Recv()
	require.Errorf(s.t, err, "worker says %s", b)
	require.NotErrorIs(s.t, err, os.ErrDeadlineExceeded)
}

// ready waits until the worker is warm.
func (s *supervised) ready() *supervised {
	s.t.Helper()
	m := s.hear().GetReady()
	require.NotNil(s.t, m, "worker does not say that it is ready")
	require.EqualValues(s.t, 1, m.Protocol)
	s.heir = int(m.HeirPid)
	return s
}

// fatal returns why the worker gives up.
func (s *supervised) fatal() string {
	s.t.Helper()
	m := s.hear().GetFatal()
	require.NotNil(s.t, m, "worker does not say why it gives up")
	return m.Error
}

// tell sends a message with descriptors.
func (s *supervised) tell(m *understudyv1.ToWorker, fds ...int) {
	s.t.Helper()
	b, err := control.Encode(m)
	require.NoError(s.t, err)
	require.NoError(s.t, s.conn.Send(b, fds...))
}

func (s *supervised) drain(grace time.Duration) {
	s.t.Helper()
	s.tell(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Drain{Drain: &understudyv1.Drain{GraceMs: grace.Milliseconds()}}})
}

// drained waits until the worker says that nothing is in flight.
func (s *supervised) drained() {
	s.t.Helper()
	require.NotNil(s.t, s.hear().GetDrained(), "worker does not say that it is drained")
}

func (s *supervised) terminate() {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(unix.SIGTERM))
}

func (s *supervised) retire() {
	s.t.Helper()
	s.tell(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Retire{Retire: &understudyv1.Retire{}}})
}

// probe asks for a sign of life and returns the answer.
func (s *supervised) probe(id uint64) *understudyv1.ProbeResult {
	s.t.Helper()
	s.tell(probe(id))
	m := s.hear().GetProbeResult()
	require.NotNil(s.t, m)
	require.Equal(s.t, id, m.Id)
	return m
}

func probe(id uint64) *understudyv1.ToWorker {
	return &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Probe{Probe: &understudyv1.Probe{Id: id}}}
}

// activation of process id ns:acme:test, epoch 7.
func activation(e endpoint, c config) *understudyv1.ToWorker {
	return &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Activate{Activate: &understudyv1.Activate{
		ProcessId: "ns:acme:test",
		Pattern:   "test",
		Epoch:     7,
		Key:       &understudyv1.Key{Namespace: "acme", Level: "namespace"},
		Config:    c,
		Listeners: []*understudyv1.Listener{{Name: "main", Network: e.Addr().Network(), Address: e.Addr().String()}},
	}}}
}

// activate sends the activation.
func (s *supervised) activate(e endpoint, c config) *supervised {
	s.t.Helper()
	s.tell(activation(e, c), int(e.file.Fd()))
	return s
}

// active waits until the worker says that it serves.
func (s *supervised) active() *supervised {
	s.t.Helper()
	m := s.hear().GetActive()
	require.NotNil(s.t, m, "worker does not say that it is active")
	require.Equal(s.t, "ns:acme:test", m.ProcessId)
	require.EqualValues(s.t, 7, m.Epoch)
	return s
}

// builtEcho returns the path of the echo pattern's program, built once.
var builtEcho = sync.OnceValues(func() (string, error) {
	// Below the test binary's folder, which go test removes.
	file := filepath.Join(filepath.Dir(os.Args[0]), "echo")
	build := exec.Command("go", "build", "-trimpath", "-o", file, "understudy/patterns/echo")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does
	out, err := build.CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return file, nil
})

// echo starts the echo pattern.
func echo(t testing.TB, c config) *supervised {
	t.Helper()
	file, err := builtEcho()
	require.NoError(t, err)
	cmd := exec.Command(file)
	cmd.Dir = t.TempDir() // for core dumps
	return supervise(t, c, cmd)
}
