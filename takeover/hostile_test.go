package takeover

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a worker shares with the engine are sockets of which it has the other
// end. It can let them fill up, shut them down, close them and change its flags.
// None of that stops the engine: others fail over.
func TestNothingThatAWorkerSharesStopsTheEngine(t *testing.T) {
	fill := func(fd int) {
		for {
			if _, err := unix.SendmsgN(fd, []byte("more"), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != nil {
				return
			}
		}
	}
	for name, spoil := range map[string]func(t *testing.T, ours, theirs int){
		"both directions full": func(_ *testing.T, ours, theirs int) { fill(ours); fill(theirs) },
		"full and blocking": func(t *testing.T, ours, theirs int) {
			fill(ours)
			fill(theirs)
			for _, fd := range []int{ours, theirs} { // the first is more than a worker can do
				require.NoError(t, unix.SetNonblock(fd, false))
			}
		},
		"shut down": func(_ *testing.T, _, theirs int) { _ = unix.Shutdown(theirs, unix.SHUT_RDWR) },
		"closed":    func(_ *testing.T, _, theirs int) { unix.Close(theirs) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStation(t, endless)
			// The hostile one is active for binding 1, another stands by before all
			// others; the third is good.
			for id := WorkerID(1); id <= 2; id++ {
				w := startForker(t, nil, "echo; exec sleep 1000")
				control, doom := make([]int, 2), make([]int, 2)
				for kind, pair := range map[int][]int{unix.SOCK_SEQPACKET: control, unix.SOCK_DGRAM: doom} {
					made, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
					require.NoError(t, err)
					copy(pair, made[:])
					defer unix.Close(pair[0])
					if name != "closed" {
						defer unix.Close(pair[1])
					}
					spoil(t, pair[0], pair[1])
				}
				require.NoError(t, s.Watch(id, w.Process.Pid, w.pidfd, control[0], -1))
				require.NoError(t, s.Heir(id, 0, doom[0]))
				if id == 1 {
					require.NoError(t, s.Arm(aPlan(1, 1), false))
					s.taken(t)
					require.NoError(t, unix.PidfdSendSignal(w.pidfd, unix.SIGKILL, nil, 0))
					s.until(t, Waiting)
				}
			}
			good := startGuarded(t, s.Client, 3, false)
			require.NoError(t, s.Offer(3, 9, false)) // not for binding 1 yet
			require.NoError(t, s.Offer(2, 1, false))
			require.NoError(t, s.Withdraw(3))
			require.NoError(t, s.Offer(3, 1, false))
			require.Equal(t, "activate", good.read(t))
			require.NoError(t, s.Ping())
			for s.next(t).Kind != Pong {
			}
		})
	}
}
