//go:build faults

package fault

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestAFaultFiresOnceHoweverManyComeByIt(t *testing.T) {
	f, err := In(t.TempDir())
	require.NoError(t, err)
	t.Setenv(Variable, f.Dir)
	require.Zero(t, At(Activate))
	require.True(t, f.Reached(Activate))
	require.False(t, f.Reached(EngineRecv))

	require.NoError(t, f.Arm(Activate, 0))
	require.False(t, f.Fired(Activate))
	require.Zero(t, At(EngineRecv), "another label")
	var failed atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if errno := At(Activate); errno != 0 {
				failed.Add(1)
				require.Equal(t, unix.ENOBUFS, errno)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, failed.Load())
	require.True(t, f.Fired(Activate))

	require.NoError(t, f.Arm(Activate, unix.EPIPE))
	require.ErrorIs(t, Error(Activate), unix.EPIPE)
	require.NoError(t, Error(Activate))
	require.Error(t, f.Arm("takeover.nothing", 0))
}

func TestNoFolderNoFault(t *testing.T) {
	t.Setenv(Variable, "")
	require.Zero(t, At(Activate))
}
