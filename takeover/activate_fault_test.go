//go:build faults

package takeover

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/fault"
)

// What goes wrong with an activation costs a standby only where that is to
// blame. Otherwise it is tried again.
func TestFaultOfAnActivation(t *testing.T) {
	for errno, lost := range map[unix.Errno]bool{
		unix.ENOBUFS: false, unix.ENOMEM: false, unix.ETOOMANYREFS: false, unix.EAGAIN: false,
		unix.EPIPE: true, unix.ECONNRESET: true,
	} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			f, err := fault.In(t.TempDir())
			require.NoError(t, err)
			t.Setenv(fault.Variable, f.Dir)
			s := newStation(t, endless)
			active := startGuarded(t, s.Client, 1, false)
			standbys := map[WorkerID]guarded{}
			for id := WorkerID(2); id <= 3; id++ {
				standbys[id] = startGuarded(t, s.Client, id, false)
				require.NoError(t, s.Offer(id, 1, false))
			}
			require.NoError(t, s.Arm(aPlan(1, 1), false))
			s.taken(t)
			require.NoError(t, f.Arm(fault.Activate, errno))
			active.kill(t)
			first := Retrying
			if lost {
				first = Lost
			}
			failed := s.until(t, first)
			require.EqualValues(t, 3, failed.Worker, "the newest")
			done := s.until(t, Activated)
			require.EqualValues(t, 2, done.Epoch)
			if !lost {
				require.EqualValues(t, errno, failed.Errno)
			}
			want := WorkerID(3) // who was not to blame
			if lost || errno == unix.EAGAIN {
				want = 2 // another, before the one that does not read
			}
			require.Equal(t, want, done.Worker)
			require.Equal(t, "activate", standbys[want].read(t))
			require.True(t, standbys[5-want].silent())
			// The other one: gone, or a standby still.
			require.NoError(t, s.Arm(Plan{Binding: 2, Epoch: 1, Pool: 1, Payload: []byte("second")}, false))
			if lost {
				s.until(t, Waiting)
				return
			}
			require.Equal(t, 5-want, s.until(t, Activated).Worker)
		})
	}
}
