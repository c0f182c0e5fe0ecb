package reporting

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/hypervisor"
)

func TestStop(t *testing.T) {
	if !hypervisor.PageReporting() {
		start, err := Stop()
		require.NoError(t, err)
		require.NoError(t, start())
		t.Skip("this machine reports no free pages")
	}
	before, err := os.ReadFile(hypervisor.PageReportingOrder)
	require.NoError(t, err)
	start, err := Stop()
	if err != nil {
		require.ErrorContains(t, err, hypervisor.PageReportingOrder)
		t.Skip(err)
	}
	stopped := !hypervisor.PageReporting()
	require.NoError(t, start())
	require.True(t, stopped)
	after, err := os.ReadFile(hypervisor.PageReportingOrder)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}
