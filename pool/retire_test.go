package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/patterns"
)

// A standby that was asked back may be activated all the same, and the answer
// get lost. It must not count as one that is about to go: then the pool would
// keep one too many for as long as it is active.
func TestAnActivatedWorkerIsNotAboutToBeRetired(t *testing.T) {
	m := role("good")
	m.Spares = patterns.Spares{Min: 1, Max: 1}
	y := newYard(t, Config{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond}, m)
	active := next(t, y.ready)
	y.do(func() {
		active.life.withdrawing = true
		require.NotNil(t, y.Activated(active.ID, "shared:a", 1))
	})
	next(t, y.ready)
	y.do(func() { y.Demand("a", 1) })
	next(t, y.ready)
	y.do(func() { y.Demand("a", 0) })
	require.Equal(t, "exited with code 0", next(t, y.exited))
}
