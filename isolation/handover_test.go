package isolation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/patterns"
)

// A worker that wants to stop soon after its activation takes a standby as one
// that dies: a binding of such workers leaves the last standby to others.
func TestHandoversInQuickSuccessionLeaveAStandbyToOthers(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.StartTimeout = patterns.Spares{Min: 3, Max: 3}, time.Minute
		m.Config["slow"] = "2s"
	}))
	h.acquire("a", "good")
	b := h.acquire("a", "restless")
	h.until("all spares", func() bool { return h.standbys() == 3 })
	for range 1 + reservesFrom { // the first has lived for long
		now, _ := h.Lookup(b.ProcessID)
		require.NoError(t, unix.Kill(now.Pid, unix.SIGTERM))
		h.waitFor(event.Failover, b.ProcessID)
		h.engineKnows()
	}
	var reserve int
	h.loop.Do(func() { reserve = h.reserve(h.bindings[b.ProcessID]) })
	require.Equal(t, 1, reserve)
}
