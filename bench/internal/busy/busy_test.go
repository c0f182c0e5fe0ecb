package busy_test

import (
	"runtime"
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
	var before, after unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_CHILDREN, &before))
	l, err := busy.Start(t.Context(), runtime.NumCPU())
	require.NoError(t, err)
	time.Sleep(200 * time.Millisecond)
	l.Stop()
	l.Stop()
	require.NoError(t, unix.Getrusage(unix.RUSAGE_CHILDREN, &after))
	// Others may be busy too, so that it need not get every core.
	used := time.Duration(unix.TimevalToNsec(after.Utime) - unix.TimevalToNsec(before.Utime))
	require.Greater(t, used, 20*time.Millisecond)
	require.ErrorIs(t, unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG, nil), unix.ECHILD)
}
