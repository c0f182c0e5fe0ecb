package isolation

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// A watcher that does not read must not hold ever more routes that are gone.
func TestSlowWatcherHoldsBoundedRoutes(t *testing.T) {
	table := newRouteTable()
	w := table.watch("")
	defer w.Close()
	u, err := w.Next(t.Context())
	require.NoError(t, err)
	require.True(t, u.Full)
	table.publish(Route{ProcessID: "stays", State: Active})
	for i := range 2 * maxGone {
		table.publish(Route{ProcessID: strconv.Itoa(i), State: Active})
		table.publish(Route{ProcessID: strconv.Itoa(i), State: Gone})
		require.LessOrEqual(t, len(w.pending), 2+maxGone)
	}
	u, err = w.Next(t.Context())
	require.NoError(t, err)
	require.True(t, u.Full, "whatever else the reader holds is gone")
	require.Len(t, u.Routes, 1)
	require.Equal(t, "stays", u.Routes[0].ProcessID)
	table.publish(Route{ProcessID: "stays", State: Gone})
	u, err = w.Next(t.Context())
	require.NoError(t, err)
	require.False(t, u.Full)
	require.Len(t, u.Routes, 1)
}
