package isolation

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/internal/procfs"
	"understudy/patterns"
)

func TestStuckIsFarSlowerThanTheLatestActivations(t *testing.T) {
	const most = 10 * time.Second
	var a *activationTimes
	require.Equal(t, hedgeUnknown, a.stuckAfter(most), "nothing is known")
	a = &activationTimes{}
	for range enoughActivations {
		require.Equal(t, hedgeUnknown, a.stuckAfter(most), "little is known")
		a.add(time.Millisecond)
	}
	require.Equal(t, hedgeMin, a.stuckAfter(most))
	a.add(100 * time.Millisecond)
	require.Equal(t, 400*time.Millisecond, a.stuckAfter(most))
	require.Equal(t, 50*time.Millisecond, a.stuckAfter(50*time.Millisecond), "no later than a start may take")
	for range len(a.ring) {
		a.add(time.Millisecond)
	}
	require.Equal(t, hedgeMin, a.stuckAfter(most), "slow ones are forgotten")
}

// stop stops a process, and waits until each of its threads stands still.
func (h *house) stop(pid int) {
	h.t.Helper()
	require.NoError(h.t, unix.Kill(pid, unix.SIGSTOP))
	h.until("it stands still", func() bool {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		require.NoError(h.t, err)
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			require.NoError(h.t, err)
			if s, err := procfs.ReadStat(id); err != nil || s.State != 'T' {
				return false
			}
		}
		return true
	})
}

// A standby that is stuck, and does not say so in time, is given up long before
// start_timeout. It never answers, whatever becomes of it.
func TestStuckStandbyIsHedged(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.Probe.Interval, m.StartTimeout = patterns.Spares{Min: 2, Max: 2}, 0, 20*time.Second
	}))
	h.until("two spares", func() bool { return h.standbys() == 2 })
	b := h.acquire("a", "acme")
	next := 0 // the newest standby: two from the beginning, and one in the place of the first worker
	for range 3 {
		next = h.waitFor(event.WorkerReady, "").Pid
	}
	require.NotEqual(t, b.Pid, next)
	h.engineKnows()
	h.stop(next)
	require.NoError(t, unix.Kill(b.Pid, unix.SIGKILL))
	begun := time.Now()
	pid, _, epoch, _ := askOther(t, b.Address, b.Pid)
	require.NotEqual(t, next, pid)
	require.Equal(t, b.Epoch+2, epoch)
	require.Less(t, time.Since(begun), 10*time.Second, "half of start_timeout")
	h.waitFor(event.Hedged, b.ProcessID)
	_ = unix.Kill(next, unix.SIGCONT)
	for range 50 { // it would take its share of these
		pid, _, epoch, _ := ask(t, b.Address)
		require.NotEqual(t, next, pid)
		require.Equal(t, b.Epoch+2, epoch)
	}
	require.Equal(t, uint64(1), h.EngineTrouble().Hedged)
}

// Without another standby nobody is given up.
func TestLastStandbyIsNotGivenUpAsStuck(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.Probe.Interval, m.StartTimeout = patterns.Spares{}, 0, time.Minute
		m.Config["delay"] = "1500ms" // until it accepts: long after it counts as stuck
	}))
	b := h.acquire("a", "acme")
	require.Equal(t, uint64(1), b.Epoch)
	require.Zero(t, h.EngineTrouble().Hedged)
}
