package isolation

import (
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/patterns"
)

// A binding says whether a standby could take over from its worker: not while
// the one that it took is being replaced.
func TestBindingSaysWhetherAStandbyIsBehindIt(t *testing.T) {
	gate := backend(t)
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
		m.Spares = patterns.Spares{Min: 1, Max: 1}
		m.Config["slow"] = "300ms"
		m.Config["gate"] = gate
	}))
	h.until("a spare", func() bool { return h.standbys() == 1 })
	b := h.acquire("a", "acme")
	require.False(t, b.Standby, "it took the last one")
	h.until("the next one is there", func() bool {
		now, _ := h.Lookup(b.ProcessID)
		return now.Standby
	})
}
