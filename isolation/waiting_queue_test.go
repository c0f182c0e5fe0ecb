package isolation

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/patterns"
	"understudy/pool"
)

// When very many bindings wait and starts fail, one after the other, the work
// grows with their number, not with its square.
func TestFailedStartsLookAtFewOfThoseWhoWait(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Spares = patterns.Spares{} }))
	const n = 1000
	m := manifest("a", func(m *patterns.Manifest) { m.StartTimeout = time.Minute })
	failed := &pool.StartError{Pattern: "a", Err: errors.New("no model")}
	require.NoError(t, h.call(h.ctx(), func() error {
		var all []*entry
		for i := range n {
			e := &entry{manifest: m, phase: phase{state: Recovering, everServed: true, waiting: true}, Binding: Binding{Pattern: "a"}}
			e.waits, e.waiting = waitRecovery, time.Now().Add(-time.Hour)
			if i%2 == 0 { // has not waited for long
				e.waiting = time.Now()
			}
			all = append(all, e)
		}
		w := h.waitersOf("a")
		for long := range 2 { // those that have waited longest are first
			for i, e := range all {
				if i%2 != long {
					e.place = w.queues[waitRecovery].PushBack(e)
				}
			}
		}
		looks := 0
		for range n {
			looks += h.startFailed("a", failed)
		}
		require.Equal(t, n/2, looks, "each that has waited for long, once")
		for i, e := range all {
			require.Equal(t, i%2 != 0, e.phase.state == Failed)
			if e.place != nil { // they were never launched
				w.queues[e.waits].Remove(e.place)
				e.place, e.waits = nil, waitNot
			}
		}
		return nil
	}))
}
