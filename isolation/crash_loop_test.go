package isolation

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/patterns"
)

func TestPausesGrowWithShortLives(t *testing.T) {
	long := 3 * time.Second
	for unserved, want := range map[int]time.Duration{
		loopsFrom: long, loopsFrom + 1: 2 * long, loopsFrom + 2: 4 * long, loopsFrom + 5: maxPause, maxShort: maxPause,
	} {
		require.Equal(t, want, shortLives{unserved, unserved}.pause(long), "%d lives without serving", unserved)
	}
	require.Equal(t, minLife, shortLives{loopsFrom, loopsFrom}.pause(0))
	require.False(t, shortLives{all: maxShort}.looping(), "they served")
}

// Workers that take long to start are used up by a tenant that crashes at each
// activation, unless it leaves the last standby to its neighbour, whose
// failovers stay warm.
func TestCrashLoopOfOneTenantLeavesAStandbyToOthers(t *testing.T) {
	const start = time.Second
	poison := filepath.Join(t.TempDir(), "poison")
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.StartTimeout = patterns.Spares{Min: 1, Max: 1}, time.Minute
		m.Config["slow"] = start.String()
	}))
	good := h.acquire("a", "good")
	b, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: "a", Key: Key{Namespace: "loop"}, Config: map[string]string{"poison": poison}})
	require.NoError(t, err)
	h.until("a spare", func() bool { return h.standbys() == 1 })
	require.NoError(t, os.WriteFile(poison, nil, 0o600))
	require.NoError(t, unix.Kill(b.Pid, unix.SIGKILL))
	h.waitFor(event.CrashLoop, b.ProcessID)
	looping, _ := h.Lookup(b.ProcessID)
	require.Equal(t, Recovering, looping.State)
	require.Contains(t, looping.LastError, ErrCrashLoop.Error())

	h.until("a spare", func() bool { return h.standbys() == 1 })
	for range 4 {
		now, _ := h.Lookup(good.ProcessID)
		require.NoError(t, unix.Kill(now.Pid, unix.SIGKILL))
		require.Equal(t, "false", h.waitFor(event.Failover, good.ProcessID).Facts["cold"])
		<-time.After(5 * start / 2) // more than a start takes
	}
	still, _ := h.Lookup(b.ProcessID)
	require.Greater(t, still.Epoch, looping.Epoch, "it is tried again")

	// One long life ends it.
	require.NoError(t, os.Remove(poison))
	pid, _, epoch, _ := ask(t, b.Address)
	h.until("the neighbour's standby is its own too", func() bool {
		now, _ := h.Lookup(b.ProcessID)
		armed := false
		require.NoError(t, h.call(h.ctx(), func() error {
			p := h.bindings[b.ProcessID].phase
			armed = p.armed && !p.short.reserves()
			return nil
		}))
		return armed && now.Pid == pid
	})
	h.until("a spare", func() bool { return h.standbys() == 1 })
	require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	for {
		if e := h.waitFor(event.Failover, b.ProcessID); e.Epoch > epoch {
			require.Equal(t, "false", e.Facts["cold"])
			break
		}
	}
}

// Healthy workers that somebody kills one after the other are no crash loop:
// each standby that is there takes over at once, although a start takes longer.
func TestKillsInQuickSuccessionFailOverWarm(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.StartTimeout = patterns.Spares{Min: 5, Max: 5}, time.Minute
		m.Config["slow"] = "2s"
	}))
	b := h.acquire("a", "acme")
	h.until("all spares", func() bool { return h.standbys() == 5 })
	pid := b.Pid
	for range 5 {
		require.NoError(t, unix.Kill(pid, unix.SIGKILL))
		for e := (event.Event{}); e.Kind != event.Failover || e.Facts["cold"] != "false"; e = <-h.events {
			require.NotEqual(t, event.CrashLoop, e.Kind, e.Message)
		}
		pid, _, _, _ = askOther(t, b.Address, pid)
	}
}

// A launch whose workers die one after the other fails, says why, and is not
// tried again at once.
func TestLaunchInACrashLoopFails(t *testing.T) {
	poison := filepath.Join(t.TempDir(), "poison")
	require.NoError(t, os.WriteFile(poison, nil, 0o600))
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Config["poison"] = poison; m.Config["slow"] = "300ms" }))
	r := AcquireRequest{Pattern: "a", Key: Key{Namespace: "acme"}}
	_, err := h.Acquire(h.ctx(), r)
	require.ErrorIs(t, err, ErrCrashLoop)
	_, err = h.Acquire(h.ctx(), r)
	require.ErrorIs(t, err, ErrCrashLoop)
	require.ErrorContains(t, err, "again in")
	require.NoError(t, os.Remove(poison))
	h.until("the pause is over", func() bool {
		_, err = h.Acquire(h.ctx(), r)
		return err == nil
	})
}
