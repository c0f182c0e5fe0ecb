package isolation

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/patterns"
	"understudy/pool"
)

// While the worker of a binding that ends finishes what it has begun, nobody
// connects any more to wait for an answer that does not come.
func TestDrainRefusesNewClientsAtOnce(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
				m.Listen, m.GracePeriod = network, time.Minute
				m.Config["linger"] = "3s"
			}))
			b := h.acquire("a", "acme")
			ended := make(chan error, 1)
			go func() { ended <- h.Release(h.ctx(), b.ProcessID, ReleaseOptions{}) }()
			address, _ := strings.CutPrefix(b.Address, "unix://")
			h.until("clients are refused", func() bool {
				c, err := net.Dial(network, address)
				if err == nil {
					c.Close()
				}
				return err != nil
			})
			draining, ok := h.Lookup(b.ProcessID)
			require.True(t, ok, "it is refused only when the worker is gone")
			require.Equal(t, Draining, draining.State)
			require.NoError(t, <-ended)
			again := h.acquire("a", "acme")
			require.Equal(t, b.Address, again.Address)
			_, _, epoch, _ := ask(t, again.Address)
			require.Greater(t, epoch, b.Epoch)
		})
	}
}

// Of two ends of the grace period the earlier one counts, whichever was said
// first.
func TestSecondReleaseCanBeSooner(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Config["linger"] = "5m" }))
	b := h.acquire("a", "acme")
	ended := make(chan error, 1)
	go func() { ended <- h.Release(h.ctx(), b.ProcessID, ReleaseOptions{Grace: 5 * time.Minute}) }()
	h.until("it drains", func() (draining bool) {
		h.loop.Do(func() {
			e := h.bindings[b.ProcessID]
			w := h.Keeper().Worker(e.phase.worker)
			draining = w != nil && w.State() == pool.Draining
		})
		return draining
	})
	require.NoError(t, h.Release(h.ctx(), b.ProcessID, ReleaseOptions{Grace: 50 * time.Millisecond}))
	require.NoError(t, <-ended)
}
