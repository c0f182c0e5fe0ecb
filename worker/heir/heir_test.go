//go:build linux && (amd64 || arm64)

package heir

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestHeirIsAProcessApart: its own group, its own name, deaf to every signal
// that can be blocked.
func TestHeirIsAProcessApart(t *testing.T) {
	w := supervise(t, spec{Heir: true})
	group, err := unix.Getpgid(w.heir)
	require.NoError(t, err)
	assert.Equal(t, w.heir, group)
	assert.Equal(t, Name, status(t, w.heir, "Name"))
	for signal := unix.Signal(1); signal <= 64; signal++ {
		if signal != unix.SIGKILL && signal != unix.SIGSTOP {
			require.NoError(t, unix.Kill(w.heir, signal))
		}
	}
	c := connect(t, w.tcpAddr)
	require.NoError(t, unix.Kill(-w.proc.Pid, unix.SIGKILL))
	require.False(t, c.cut().IsZero())
	_, h := w.bury()
	assert.Zero(t, h.signal, "it went with the worker's group")
	assert.Zero(t, h.code)
}

// status reads one line of /proc/PID/status.
func status(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in the status of %d", name, pid)
	return ""
}

// TestHeirSurvivesStops: job control, debuggers and the freezer interrupt its
// wait.
func TestHeirSurvivesStops(t *testing.T) {
	w := supervise(t, spec{Heir: true})
	c := connect(t, w.unixAddr)
	for range 3 {
		pause(t, w.heir)
	}
	w.kill()
	require.False(t, c.cut().IsZero())
	_, h := w.bury()
	assert.Equal(t, ended{}, h)
}

// pause stops a child of this process and lets it go on.
func pause(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, unix.Kill(pid, unix.SIGSTOP))
	var info unix.Siginfo
	require.NoError(t, unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WALL, nil))
	require.NoError(t, unix.Kill(pid, unix.SIGCONT))
}

// TestHeirTouchesNothingInDoubt: the worker has closed the heir's descriptors,
// or others have their numbers now. Once the heir looks again it must not take
// the worker for dead.
func TestHeirTouchesNothingInDoubt(t *testing.T) {
	for _, how := range []string{"close", "replace"} {
		t.Run(how, func(t *testing.T) {
			w := supervise(t, spec{Heir: true, On: how})
			c := connect(t, w.unixAddr)
			w.stdin.Close()
			w.report()
			pause(t, w.heir)
			h := waitFor(t, w.heir)
			w.heir = 0
			assert.Equal(t, ended{code: 1}, h)
			assert.True(t, c.answered(), "the worker goes on without its heir")
			w.kill()
			w.bury()
		})
	}
}

// TestWorkerSurvivesItsHeir: the death of the heir costs only its service.
func TestWorkerSurvivesItsHeir(t *testing.T) {
	w := supervise(t, spec{Heir: true})
	u, tcp := connect(t, w.unixAddr), connect(t, w.tcpAddr)
	require.NoError(t, unix.Kill(w.heir, unix.SIGKILL))
	h := waitFor(t, w.heir)
	w.heir = 0
	assert.Equal(t, unix.SIGKILL, h.signal)
	assert.True(t, u.answered())
	assert.True(t, tcp.answered())
	connect(t, w.unixAddr)
	w.kill()
	require.False(t, u.cut().IsZero())
	w.bury()
}

// TestOrderlyExit: os.Exit is a death like any other and keeps its status.
func TestOrderlyExit(t *testing.T) {
	w := supervise(t, spec{Heir: true, On: "exit"})
	c := connect(t, w.unixAddr)
	w.stdin.Close()
	require.False(t, c.cut().IsZero())
	status, h := w.bury()
	assert.Equal(t, 7, status.ExitCode())
	assert.Equal(t, ended{}, h)
}

// TestStopBeforeExecve: a worker may become another program, with all the
// memory and descriptors of the first one released.
func TestStopBeforeExecve(t *testing.T) {
	w := supervise(t, spec{Heir: true, Ballast: 64, On: "execve"})
	c := connect(t, w.unixAddr)
	w.stdin.Close()
	require.False(t, c.cut().IsZero(), "execve closes the connection")
	h := waitFor(t, w.heir)
	w.heir = 0
	assert.Equal(t, unix.SIGKILL, h.signal)
	assert.Equal(t, "sleep", status(t, w.proc.Pid, "Name"))
	w.kill()
	w.bury()
}

// TestChildrenOfTheWorker: os/exec works beside an heir.
func TestChildrenOfTheWorker(t *testing.T) {
	w := supervise(t, spec{Heir: true, Do: "children"})
	c := connect(t, w.unixAddr)
	w.kill()
	require.False(t, c.cut().IsZero())
	_, h := w.bury()
	assert.Equal(t, ended{}, h)
}

func TestTrackTakesAnyNumber(t *testing.T) {
	var nobody *Heir
	nobody.Track(3)
	nobody.Untrack(3)
	assert.Zero(t, nobody.Pid())
	require.NoError(t, nobody.Stop())

	s, err := newState()
	require.NoError(t, err)
	h := &Heir{state: s}
	for _, fd := range []int{-1, trackable, 1 << 40} {
		h.Track(fd)
		h.Untrack(fd)
	}
	for _, fd := range []int{0, 63, 64, trackable - 1} {
		h.Track(fd)
	}
	h.Untrack(63)
	assert.Equal(t, uint64(1), s.tracked[0].Load())
	assert.Equal(t, uint64(1), s.tracked[1].Load())
	assert.Equal(t, uint64(1)<<63, s.tracked[len(s.tracked)-1].Load())
}
