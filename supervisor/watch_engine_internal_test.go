package supervisor

import (
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestJudge(t *testing.T) {
	idle, busy, stopped := threadStates{}, threadStates{runnable: true}, threadStates{stopped: true, runnable: true}
	for name, tt := range map[string]struct {
		silent, late time.Duration
		threads      threadStates
		replaced     bool
	}{
		"stopped":                          {0, 0, stopped, true},
		"asleep with a ping unread":        {pingTime, 0, idle, true},
		"wants a processor":                {pingTime, 0, busy, false},
		"wants a processor for long":       {busyTime, 0, busy, true},
		"we were held up ourselves":        {3 * pingTime, 2 * pingTime, idle, false},
		"we were held up, and for long":    {busyTime, 2 * pingTime, idle, true},
		"runs, and does not look at pings": {busyTime + pingTime, 0, busy, true},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.replaced, judge(tt.silent, tt.late, tt.threads) != "")
		})
	}
}

func TestStatesOfAStoppedProcess(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "1000")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	require.False(t, states(cmd.Process.Pid).stopped)
	require.NoError(t, cmd.Process.Signal(unix.SIGSTOP))
	require.Eventually(t, func() bool { return states(cmd.Process.Pid).stopped }, time.Minute, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(unix.SIGCONT))
	require.Eventually(t, func() bool { return !states(cmd.Process.Pid).stopped }, time.Minute, time.Millisecond)
}

// Without an engine nothing fails over, so the next one is never long in coming.
func TestRestartPause(t *testing.T) {
	require.Zero(t, restartPause(engineRestartMax, engineLife+1))
	pause := time.Duration(0)
	for range 100 {
		next := restartPause(pause, 0)
		require.GreaterOrEqual(t, next, max(pause, engineRestartMin))
		require.LessOrEqual(t, next, 250*time.Millisecond)
		pause = next
	}
	require.Equal(t, engineRestartMax, pause)
}

func TestSparingly(t *testing.T) {
	var s sparingly
	now := time.Unix(1000, 0)
	told, untold := 0, 0
	for range 1000 { // four a second
		now = now.Add(engineRestartMax)
		if n, ok := s.now(now); ok {
			told++
			untold += n
		}
	}
	require.Equal(t, tellBurst+int((1000-tellBurst)*engineRestartMax/tellPause), told)
	require.Equal(t, 1000, told+untold+s.untold, "none is left out of the account")
	now = now.Add(tellPause)
	for range tellBurst { // it was quiet
		_, ok := s.now(now)
		require.True(t, ok)
	}
}
