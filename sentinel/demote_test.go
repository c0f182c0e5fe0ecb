package sentinel

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDemoteReachesEveryThread(t *testing.T) {
	p, _, _ := runBusy(t, 0)
	Demote(p.pid)
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(p.pid), "task", "*"))
	require.NoError(t, err)
	require.Greater(t, len(threads), busy)
	for _, thread := range threads {
		tid, err := strconv.Atoi(filepath.Base(thread))
		require.NoError(t, err)
		attr, err := unix.SchedGetAttr(tid, 0)
		if err == unix.ESRCH {
			continue // ended since
		}
		require.NoError(t, err)
		require.Equal(t, int32(lowest), attr.Nice)
	}
	mine, err := unix.SchedGetAttr(os.Getpid(), 0)
	require.NoError(t, err)
	require.NotEqual(t, int32(lowest), mine.Nice)
}
