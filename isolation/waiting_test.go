package isolation

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/internal/event"
	"understudy/patterns"
)

// A launch beyond the limit is refused at once, and one that is over makes room.
func TestWaitingLaunchesAndWorkersAreBounded(t *testing.T) {
	h := newHouseWith(t, func(c *Config) { c.MaxWaiting, c.Pool.MaxWorkers = 1, 2 },
		manifest("stuck", func(m *patterns.Manifest) { m.Spares, m.Config["slow"] = patterns.Spares{}, "1h" }),
		manifest("a", func(m *patterns.Manifest) { m.Spares = patterns.Spares{Min: 1, Max: 1} }))
	h.waitFor(event.WorkerReady, "")
	ctx, cancel := context.WithCancel(h.ctx())
	waits := make(chan error, 1)
	go func() {
		_, err := h.Acquire(ctx, AcquireRequest{Pattern: "stuck", Key: Key{Namespace: "a"}})
		waits <- err
	}()
	h.waitFor(event.WorkerStarted, "") // for it
	_, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: "stuck", Key: Key{Namespace: "b"}})
	require.ErrorIs(t, err, ErrExhausted)
	require.ErrorContains(t, err, "2 workers")
	_, err = h.Acquire(h.ctx(), AcquireRequest{Pattern: "stuck", Key: Key{Namespace: "a"}})
	require.ErrorContains(t, err, "1 waiting launches")
	cancel()
	require.ErrorIs(t, <-waits, context.Canceled)

	short, end := context.WithTimeout(h.ctx(), 50*time.Millisecond)
	defer end()
	_, err = h.Acquire(short, AcquireRequest{Pattern: "stuck", Key: Key{Namespace: "a"}})
	require.ErrorIs(t, err, context.DeadlineExceeded, "who waits no more makes room, so this one waited")
}
