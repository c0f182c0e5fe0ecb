package takeover

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The second thread is the scheduler's monitor: the first that the runtime
// starts. With a long slack it wakes no more, and everything else goes on.
func TestStillMonitor(t *testing.T) {
	thread, err := secondThread()
	require.NoError(t, err)
	slack := filepath.Join("/proc", thread, "timerslack_ns")
	before, err := os.ReadFile(slack)
	require.NoError(t, err)
	f := stillMonitor()
	if f.Best {
		defer func() { require.NoError(t, os.WriteFile(slack, before, 0)) }()
		b, err := os.ReadFile(slack)
		require.NoError(t, err)
		require.Equal(t, strconv.FormatInt(int64(monitorSlack), 10), strings.TrimSpace(string(b)))
		require.Equal(t, "asleep", f.InUse)
	} else {
		require.Contains(t, f.Why, "CAP_SYS_NICE")
	}
	threads, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(threads, func(e os.DirEntry) bool { return e.Name() == thread }))
	require.NotEqual(t, strconv.Itoa(os.Getpid()), thread)
	select { // timers do not depend on it
	case <-time.After(time.Millisecond):
	case <-time.NewTimer(30 * time.Second).C:
		t.Fatal("timers are late")
	}
}
