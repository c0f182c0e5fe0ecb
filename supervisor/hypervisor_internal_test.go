package supervisor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/hypervisor"
)

func TestMemoryFeature(t *testing.T) {
	kept, given := memoryFeature(false), memoryFeature(true)
	require.True(t, kept.Best)
	require.Empty(t, kept.Why)
	require.False(t, given.Best)
	require.Contains(t, given.Why, hypervisor.PageReportingOrder, "how to have it kept")
	require.Equal(t, kept.Name, given.Name)
	require.NotEqual(t, kept.InUse, given.InUse)
}
