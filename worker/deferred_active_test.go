package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/internal/pace"
)

// Whose successor a worker is decides, not its epoch: the first worker of a
// binding may begin at any.
func TestDeferredActiveDelay(t *testing.T) {
	off, err := pace.Off(pace.ReportDelay)
	require.NoError(t, err)
	require.Equal(t, pace.Breather, activeDelay(true, pace.Switches{}))
	require.Zero(t, activeDelay(false, pace.Switches{}))
	require.Zero(t, activeDelay(true, off))
}

func TestDeferredActiveWaits(t *testing.T) {
	for _, delay := range []time.Duration{0, pace.Breather} {
		synctest.Test(t, func(t *testing.T) {
			a := deferredActive{delay: delay, sent: make(chan struct{})}
			a.settle() // it has not begun
			began := time.Now()
			var sent time.Duration
			a.begin(func() { sent = time.Since(began) })
			a.settle()
			require.Equal(t, delay, sent)
		})
	}
}
