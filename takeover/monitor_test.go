package takeover

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/internal/pace"
)

// withoutMonitor in the environment has TestStillMonitor be the process whose
// monitor sleeps: it would not wake again for the other tests.
const withoutMonitor = "TAKEOVER_TEST_WITHOUT_MONITOR"

// The second thread is the scheduler's monitor, the first that the runtime
// starts. It has a long slack then, and timers go on without it.
func TestStillMonitor(t *testing.T) {
	if os.Getenv(withoutMonitor) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestStillMonitor$", "-test.v")
		cmd.Env = append(os.Environ(), withoutMonitor+"=1")
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestStillMonitor")
		return
	}
	thread, err := secondThread()
	require.NoError(t, err)
	require.NotEqual(t, strconv.Itoa(os.Getpid()), thread)
	f := stillMonitor(pace.Switches{})
	if !f.Best {
		require.Contains(t, f.Why, "CAP_SYS_NICE")
		return
	}
	require.Equal(t, "asleep", f.InUse)
	b, err := os.ReadFile(filepath.Join("/proc", thread, "timerslack_ns"))
	require.NoError(t, err)
	require.Equal(t, strconv.FormatInt(int64(monitorSlack), 10), strings.TrimSpace(string(b)))
	select {
	case <-time.After(time.Millisecond):
	case <-time.After(30 * time.Second):
		t.Fatal("timers are late")
	}
}
