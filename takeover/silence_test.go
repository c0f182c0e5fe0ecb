package takeover

import (
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
	fence := -1
	if heir {
		fence, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
		require.NoError(t, err)
		defer unix.Close(fence)
	}
	require.NoError(t, c.Watch(id, cmd.Process.Pid, pidfd, pair[1], fence))
	return guarded{cmd, pair[0]}
}

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
			events := make(chan Event, 64)
			client, err := Start(Options{Realtime: true}, func(e Event) { events <- e })
			require.NoError(t, err)
			defer client.Close()
			next := func() Event {
				select {
				case e := <-events:
					return e
				case <-time.After(30 * time.Second):
					t.Fatal("no event")
					return Event{}
				}
			}
			require.Equal(t, Hello, next().Kind)
			active := startGuarded(t, client, 1, c.heir)
			standby := startGuarded(t, client, 2, c.heir)
			if c.standby {
				require.NoError(t, client.Offer(2, 1, false))
			}
			require.NoError(t, client.Arm(Plan{Binding: 1, Guard: 1, Epoch: 2, Pool: 1, Payload: []byte("activate")}, false))
			require.NoError(t, client.Ping())
			require.Equal(t, Pong, next().Kind) // all that was taken

			active.kill(t)
			e := next()
			heard := sentinel.Now()
			require.Equal(t, c.first, e.Kind)
			if c.standby {
				b := make([]byte, 64)
				n, err := unix.Read(standby.control, b)
				require.NoError(t, err)
				require.Equal(t, "activate", string(b[:n]))
			}
			if c.quiet {
				require.GreaterOrEqual(t, heard-e.Sent, int64(silenceTime)-int64(100*time.Microsecond))
			}
			for e := next(); ; e = next() { // the exit is told too
				require.Equal(t, Notice, e.Kind)
				if sentinel.Kind(e.NoticeKind) == sentinel.Exited {
					break
				}
			}
		})
	}
}

// TestSilenceEndsForWhomItMatters: a death that finds no standby is told at
// once, also in the silence after another one.
func TestSilenceEndsForWhomItMatters(t *testing.T) {
	events := make(chan Event, 64)
	client, err := Start(Options{Realtime: true}, func(e Event) { events <- e })
	require.NoError(t, err)
	defer client.Close()
	var workers []guarded
	for id := WorkerID(1); id <= 3; id++ {
		workers = append(workers, startGuarded(t, client, id, true))
	}
	require.NoError(t, client.Offer(3, 1, false))
	for b := BindingID(1); b <= 2; b++ {
		require.NoError(t, client.Arm(Plan{Binding: b, Guard: WorkerID(b), Epoch: 2, Pool: 1, Payload: []byte("activate")}, false))
	}
	require.NoError(t, client.Ping())
	for e := range events {
		if e.Kind == Pong {
			break
		}
	}
	workers[0].kill(t)
	workers[1].kill(t)
	var told []EventKind
	for len(told) < 2 {
		select {
		case e := <-events:
			if e.Kind == Activated || e.Kind == Waiting {
				told = append(told, e.Kind)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no event")
		}
	}
	require.Equal(t, []EventKind{Activated, Waiting}, told)
}
