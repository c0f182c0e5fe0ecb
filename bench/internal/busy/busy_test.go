package busy_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"understudy/bench/internal/busy"
	"understudy/bench/internal/role"
)

func TestMain(m *testing.M) {
	role.Play(role.Roles{busy.Role: busy.Main})
	goleak.VerifyTestMain(m)
}

func TestLoadComputesUntilItIsStopped(t *testing.T) {
	l, err := busy.Start(t.Context(), runtime.NumCPU())
	require.NoError(t, err)
	// Others may be busy too, so that it need not get every core.
	require.Eventually(t, func() bool { return childrensTime(t) > 20*time.Millisecond }, time.Minute, 5*time.Millisecond)
	l.Stop()
	l.Stop()
	require.ErrorIs(t, unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG, nil), unix.ECHILD)
}

// childrensTime is the processor time of the children that run.
func childrensTime(t *testing.T) (sum time.Duration) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, list := range lists {
		b, _ := os.ReadFile(list) // a thread may end meanwhile
		for _, pid := range strings.Fields(string(b)) {
			n, err := strconv.Atoi(pid)
			require.NoError(t, err)
			var at unix.Timespec
			// The clock of a process's time: clock_getcpuclockid(3).
			require.NoError(t, unix.ClockGettime(int32(^n<<3|2), &at))
			sum += time.Duration(at.Nano())
		}
	}
	return sum
}
