package isolation

import (
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/pace"
)

// The next plan waits for the first answers of the worker that took over, unless
// that is turned off.
func TestDelayOfTheNextPlanCanBeTurnedOff(t *testing.T) {
	for name, off := range map[string][]string{"on": nil, "off": {pace.ReportDelay}} {
		t.Run(name, func(t *testing.T) {
			switches, err := pace.Off(off...)
			require.NoError(t, err)
			h := newHouseWith(t, func(c *Config) { c.Pool.Pace = switches }, manifest("a", nil))
			b := h.acquire("a", "acme")
			require.NoError(t, h.call(h.ctx(), func() error {
				e := h.bindings[b.ProcessID]
				h.do(e, output{kind: outArm, worker: e.phase.worker, epoch: e.phase.next(), late: true})
				require.Equal(t, off == nil, e.arming)
				return nil
			}))
		})
	}
}
