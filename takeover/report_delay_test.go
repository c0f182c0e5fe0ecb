package takeover

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/monotime"
	"understudy/internal/pace"
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

func newStation(t *testing.T) station {
	t.Helper()
	s := station{events: make(chan Event, 64)}
	var err error
	s.Client, err = Start(Options{Realtime: true}, func(e Event) { s.events <- e })
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

// taken returns when the engine has taken all commands.
func (s station) taken(t *testing.T) {
	t.Helper()
	require.NoError(t, s.Ping())
	require.Equal(t, Pong, s.next(t).Kind)
}

func aPlan(b BindingID, guard WorkerID) Plan {
	return Plan{Binding: b, Guard: guard, Epoch: 2, Pool: 1, Payload: []byte("activate")}
}

// tries is how often something is tried that a busy machine can make late.
const tries = 20

// TestFailoverIsToldAMomentLater: the activation is sent at once, and told
// after the silence where an heir cuts the connections; at once where nobody
// does, and where there is no standby.
func TestFailoverIsToldAMomentLater(t *testing.T) {
	for _, c := range []struct {
		name          string
		heir, standby bool
		first         EventKind
		quiet         bool
	}{
		{"with an heir", true, true, Activated, true},
		{"without an heir", false, true, Activated, false},
		{"without a standby", true, false, Waiting, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range tries {
				s := newStation(t)
				active := startGuarded(t, s.Client, 1, c.heir)
				standby := startGuarded(t, s.Client, 2, c.heir)
				if c.standby {
					require.NoError(t, s.Offer(2, 1, false))
				}
				require.NoError(t, s.Arm(aPlan(1, 1), false))
				s.taken(t)

				active.kill(t)
				e := s.next(t)
				late := monotime.Now() - e.Seen
				require.Equal(t, c.first, e.Kind)
				if c.standby {
					b := make([]byte, 64)
					n, err := unix.Read(standby.control, b)
					require.NoError(t, err)
					require.Equal(t, "activate", string(b[:n]))
				}
				for e := s.next(t); ; e = s.next(t) { // the exit is told too
					require.Equal(t, Notice, e.Kind)
					if sentinel.Kind(e.NoticeKind) == sentinel.Exited {
						break
					}
				}
				switch {
				case c.quiet:
					require.GreaterOrEqual(t, late, int64(pace.Breather))
					return
				case late < int64(pace.Breather):
					return
				}
			}
			t.Fatal("never told before the end of a silence")
		})
	}
}

// TestSilenceEndsForWhomItMatters: a death that finds no standby is told at
// once, also in the silence after another one, which ends with it.
func TestSilenceEndsForWhomItMatters(t *testing.T) {
	for range tries {
		s := newStation(t)
		var workers []guarded
		for id := WorkerID(1); id <= 3; id++ {
			workers = append(workers, startGuarded(t, s.Client, id, true))
		}
		require.NoError(t, s.Offer(3, 1, false))
		require.NoError(t, s.Arm(aPlan(1, 1), false))
		require.NoError(t, s.Arm(aPlan(2, 2), false))
		s.taken(t)
		workers[0].kill(t)
		workers[1].kill(t)
		activated := s.next(t)
		late := monotime.Now() - activated.Seen
		require.Equal(t, Activated, activated.Kind)
		e := s.next(t)
		for e.Kind == Notice {
			e = s.next(t)
		}
		require.Equal(t, Waiting, e.Kind)
		if late < int64(pace.Breather) {
			return
		}
	}
	t.Fatal("the first death was never told before the end of its silence")
}
