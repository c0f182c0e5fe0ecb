package isolation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/patterns"
)

// openFiles sets how many descriptors the engine may have, and returns how many
// it might.
func (h *house) openFiles(n uint64) (before uint64) {
	h.t.Helper()
	var old unix.Rlimit
	require.NoError(h.t, unix.Prlimit(h.engine.Pid(), unix.RLIMIT_NOFILE, nil, &old))
	require.NoError(h.t, unix.Prlimit(h.engine.Pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}, nil))
	return old.Cur
}

// until waits until a condition holds that nobody tells of.
func (h *house) until(what string, holds func() bool) {
	h.t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); h.pause() {
		require.True(h.t, time.Now().Before(end), "never: %s", what)
	}
}

func (h *house) standbys() int { return h.Pools()[0].Standby }

// Without room in its table of descriptors the engine loses what comes with
// commands: sockets of workers and of plans. They are said again, and none of
// that waits for a reconcile pass, of which there is none here.
func TestCommandsThatTheEngineLosesAreSaidAgain(t *testing.T) {
	h := newHouseApart(t, func(*Config) {}, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.StartTimeout = patterns.Spares{Min: 2, Max: 2}, time.Minute
	}))
	b := h.acquire("a", "acme")
	h.until("two spares", func() bool { return h.standbys() == 2 })

	room := h.openFiles(3)
	require.NoError(t, unix.Kill(b.Pid, unix.SIGKILL))
	second, _, epoch, _ := askOther(t, b.Address, b.Pid) // prepared before
	require.Equal(t, uint64(2), epoch)
	h.until("a plan and a worker are rejected", func() bool { return h.EngineTrouble().Rejected >= 2 })
	h.openFiles(room)

	require.NoError(t, unix.Kill(second, unix.SIGKILL))
	third, _, epoch, _ := askOther(t, b.Address, second)
	require.Equal(t, uint64(3), epoch)
	h.until("two spares again", func() bool { return h.standbys() == 2 })
	// One of them was started while the engine could not take it.
	for want := uint64(4); want <= 5; want++ {
		require.NoError(t, unix.Kill(third, unix.SIGKILL))
		third, _, epoch, _ = askOther(t, b.Address, third)
		require.Equal(t, want, epoch)
	}
	require.Zero(t, h.EngineTrouble().GivenUp)
}

// What the engine never takes is told: the binding has no successor, and a
// standby that the engine does not know is none.
func TestCommandsThatTheEngineNeverTakesAreGivenUpVisibly(t *testing.T) {
	h := newHouseApart(t, func(*Config) {}, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.StartTimeout = patterns.Spares{Min: 1, Max: 1}, time.Minute
	}))
	b := h.acquire("a", "acme")
	h.until("a spare", func() bool { return h.standbys() == 1 })
	room := h.openFiles(3)
	require.NoError(t, unix.Kill(b.Pid, unix.SIGKILL))
	second, _, _, _ := askOther(t, b.Address, b.Pid)
	told := h.waitFor(event.Unprotected, b.ProcessID)
	require.Equal(t, second, told.Pid)
	now, ok := h.Lookup(b.ProcessID)
	require.True(t, ok)
	require.Contains(t, now.LastError, errRejected.Error())
	h.until("the standby is given up too", func() bool { return h.EngineTrouble().GivenUp >= 2 })

	h.openFiles(room)
	require.NoError(t, h.call(h.ctx(), func() error { h.Reassert(); return nil }))
	require.NoError(t, unix.Kill(second, unix.SIGKILL))
	_, _, epoch, _ := askOther(t, b.Address, second)
	require.Greater(t, epoch, uint64(2))
}

// However long the engine does not take a plan, it is asked at a bounded rate.
func TestEngineIsAskedAtABoundedRate(t *testing.T) {
	h := newHouseApart(t, func(*Config) {}, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.StartTimeout = patterns.Spares{Min: 2, Max: 2}, time.Minute
	}))
	b := h.acquire("a", "acme")
	h.until("two spares", func() bool { return h.standbys() == 2 })
	h.openFiles(3)
	require.NoError(t, unix.Kill(b.Pid, unix.SIGKILL))
	pid, _, _, _ := askOther(t, b.Address, b.Pid)
	require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	<-time.After(6 * time.Second)
	require.Less(t, h.EngineTrouble().Rejected, uint64(200))
}
