//go:build linux && (amd64 || arm64)

package heir

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestNothingIsLeft lets 80 workers die in every way there is and counts
// children and descriptors.
func TestNothingIsLeft(t *testing.T) {
	deaths := []func(*supervised){
		func(w *supervised) { w.kill() },
		func(w *supervised) { w.doom(); w.kill() },
		func(w *supervised) { w.kill(); w.doom() },
		func(w *supervised) { w.signal(unix.SIGSTOP); w.kill() },
		func(w *supervised) { require.NoError(t, unix.Kill(-w.proc.Pid, unix.SIGKILL)) },
		func(w *supervised) { require.NoError(t, unix.Kill(w.heir, unix.SIGKILL)); w.kill() },
		func(w *supervised) { w.kill(); require.NoError(t, unix.Kill(w.heir, unix.SIGKILL)) },
		func(w *supervised) { w.stdin.Close() },
	}
	fds := 0
	for i := range 80 {
		// In a test of its own, so that its descriptors are closed.
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			w := supervise(t, spec{Heir: true})
			c := connect(t, w.unixAddr)
			deaths[i%len(deaths)](w)
			require.False(t, c.cut().IsZero())
			w.bury()
		})
		if i == len(deaths) {
			fds = openDescriptors(t)
		}
	}
	assert.Equal(t, fds, openDescriptors(t))
	assert.Empty(t, children(t))
}

// TestDeathDuringStart kills workers at any moment of their start, when nobody
// knows the heir's pid yet: if there is one it ends by itself, and the worker's
// parent finds it among its children.
func TestDeathDuringStart(t *testing.T) {
	ready := time.Now()
	supervise(t, spec{Heir: true}).buryNow()
	usual := time.Since(ready)
	const kills = 50
	heirs := 0
	for i := range kills {
		w := launch(t, spec{Heir: true})
		require.False(t, readable(w.pidfd, usual*time.Duration(i)/kills), "it died by itself")
		w.buryNow()
		for _, pid := range children(t) {
			awaitEnd(t, pid)
			found, err := Children()
			require.NoError(t, err)
			require.Contains(t, found, pid)
			assert.Equal(t, ended{}, waitFor(t, pid))
			heirs++
		}
		found, err := Children()
		require.NoError(t, err)
		require.Empty(t, found)
	}
	t.Logf("%d of %d had an heir", heirs, kills)
	assert.NotZero(t, heirs, "all died before they had an heir")
}

// awaitEnd waits until a child of this process has ended, without reaping it.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT|unix.WALL, nil)
		if err != unix.EINTR {
			require.NoError(t, err)
			return
		}
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(names)
}

// children returns the children of all threads of this process.
func children(t *testing.T) (all []int) {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		if gone(err) {
			continue // the thread is gone, its children are another's
		}
		require.NoError(t, err)
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			require.NoError(t, err)
			all = append(all, pid)
		}
	}
	return all
}
