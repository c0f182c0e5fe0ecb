package supervisor_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/hypervisor"
	understudyv1 "understudy/proto/understudy/v1"
)

// Status says what the machine does with its free memory, and how to have it
// keep it.
func TestStatusSaysWhetherFreeMemoryIsKept(t *testing.T) {
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "")})
	st, err := d.supervisor.GetStatus(d.ctx(), &understudyv1.GetStatusRequest{})
	require.NoError(t, err)
	said := map[string]*understudyv1.Feature{}
	for _, f := range st.Features {
		said[f.Name] = f
	}
	require.Contains(t, said, "free memory")
	if f := said["free memory"]; hypervisor.PageReporting() {
		require.False(t, f.Best)
		require.Contains(t, f.Why, hypervisor.PageReportingOrder)
	} else {
		require.True(t, f.Best, f)
	}
	d.stopClean()
}
