package gomonitor

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// withSlack in the environment has TestSlack be the process whose monitor is
// late: it would be for the other tests too.
const withSlack = "GOMONITOR_TEST_WITH_SLACK"

// The second thread is the scheduler's monitor, the first that the runtime
// starts. It has a long slack then, and timers go on without it.
func TestSlack(t *testing.T) {
	if os.Getenv(withSlack) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestSlack$", "-test.v")
		cmd.Env = append(os.Environ(), withSlack+"=1")
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestSlack")
		return
	}
	thread, err := secondThread()
	require.NoError(t, err)
	require.NotEqual(t, strconv.Itoa(os.Getpid()), thread)
	was, err := Slack(time.Hour)
	if errors.Is(err, os.ErrPermission) {
		return // an ordinary user is refused
	}
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join("/proc", thread, "timerslack_ns"))
	require.NoError(t, err)
	require.Equal(t, strconv.FormatInt(int64(time.Hour), 10), strings.TrimSpace(string(b)))
	is, err := Slack(was)
	require.NoError(t, err)
	require.Equal(t, time.Hour, is)
	_, err = Slack(time.Hour)
	require.NoError(t, err)
	select {
	case <-time.After(time.Millisecond):
	case <-time.After(30 * time.Second):
		t.Fatal("timers are late")
	}
}
