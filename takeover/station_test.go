package takeover

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/sentinel"
)

// guarded is a real process that the engine watches, with our end of its
// control socket.
type guarded struct {
	cmd     *exec.Cmd
	control int
}

func (g guarded) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, g.cmd.Process.Kill())
}

// startGuarded starts a process that does nothing, and has the engine watch it.
func startGuarded(t *testing.T, c *Client, id WorkerID, heir bool) guarded {
	t.Helper()
	pidfd := -1
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	defer unix.Close(pidfd)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(pair[0]) })
	defer unix.Close(pair[1])
	require.NoError(t, c.Watch(id, cmd.Process.Pid, pidfd, pair[1], -1))
	if heir {
		doom, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(doom[0])
		t.Cleanup(func() { unix.Close(doom[1]) })
		require.NoError(t, c.Heir(id, 0, doom[0]))
	}
	return guarded{cmd, pair[0]}
}

// station is an engine with its events.
type station struct {
	*Client
	events chan Event
}

// newStation starts one in this process, which holds reports back for delay.
func newStation(t *testing.T, delay time.Duration) station {
	t.Helper()
	s := station{events: make(chan Event, 1024)}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	h := thread{ended: make(chan error, 1)}
	go func() { h.ended <- serve(pair[1], sentinel.Options{Realtime: true}, delay, nil) }()
	s.Client, err = newClient(os.NewFile(uintptr(pair[0]), "takeover"), h, nil, func(e Event) { s.events <- e })
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	require.Equal(t, Hello, s.next(t).Kind)
	return s
}

func (s station) next(t *testing.T) Event {
	t.Helper()
	select {
	case e := <-s.events:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no event")
		return Event{}
	}
}

// until returns the next event of a kind, past notices.
func (s station) until(t *testing.T, kind EventKind) Event {
	t.Helper()
	for {
		e := s.next(t)
		if e.Kind == kind {
			return e
		}
		require.Equal(t, Notice, e.Kind, "%s while %s is waited for: %+v", e.Kind, kind, e)
	}
}

// taken returns when the engine has taken all commands.
func (s station) taken(t *testing.T) {
	t.Helper()
	require.NoError(t, s.Ping())
	s.until(t, Pong)
}

func aPlan(b BindingID, guard WorkerID) Plan {
	return Plan{Binding: b, Guard: guard, Epoch: 2, Pool: 1, Payload: []byte("activate")}
}

// read returns what a standby was sent, within a generous time.
func (g guarded) read(t *testing.T) string {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(g.control), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 30_000)
	for err == unix.EINTR { // the runtime's signals
		n, err = unix.Poll(p, 30_000)
	}
	require.NoError(t, err)
	require.Equal(t, 1, n, "the standby was sent nothing")
	b := make([]byte, 64)
	n, err = unix.Read(g.control, b)
	require.NoError(t, err)
	return string(b[:n])
}

// silent reports whether a standby was sent nothing so far.
func (g guarded) silent() bool {
	_, err := unix.Read(g.control, make([]byte, 64))
	return err == unix.EAGAIN
}
