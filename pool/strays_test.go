package pool

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// strayEnv names the file to which the role "leaves strays" writes their pids.
const strayEnv = "POOL_TEST_STRAYS"

// Without control groups, what left a worker's process group and session ends
// with it all the same, and another worker's does not.
func TestStraysEndWithTheirWorker(t *testing.T) {
	require.NoError(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	defer func() { require.NoError(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)) }()
	dir := t.TempDir()
	cfg := never
	cfg.Strays = true
	a, b := role("leaves strays"), role("leaves strays")
	b.Name = "b"
	a.Environment[strayEnv], b.Environment[strayEnv] = filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, m := range []string{"a", "b"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, m), nil, 0o600))
	}
	y := newYard(t, cfg, a, b)
	workers := []*Worker{next(t, y.ready), next(t, y.ready)}
	strays := func(name string) (pids []int) {
		require.Eventually(t, func() bool {
			text, err := os.ReadFile(filepath.Join(dir, name))
			pids = nil
			for _, field := range strings.Fields(string(text)) {
				pid, _ := strconv.Atoi(field)
				pids = append(pids, pid)
			}
			return err == nil && len(pids) == 2 && strings.HasSuffix(string(text), "\n")
		}, 30*time.Second, 5*time.Millisecond)
		return pids
	}
	gone := func(pids []int) func() bool {
		return func() bool {
			for _, pid := range pids {
				if unix.Kill(pid, 0) != unix.ESRCH {
					return false
				}
			}
			return true
		}
	}
	of := map[string][]int{"a": strays("a"), "b": strays("b")}
	t.Cleanup(func() {
		for _, pids := range of {
			for _, pid := range pids {
				if !gone([]int{pid})() {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
		}
	})
	first, second := workers[0].Pattern(), workers[1].Pattern()
	y.do(func() { y.kill(workers[0]) })
	next(t, y.exited)
	require.Eventually(t, gone(of[first]), 30*time.Second, 5*time.Millisecond, "killed and reaped")
	for _, pid := range of[second] {
		require.NoError(t, unix.Kill(pid, 0), "another worker's lives on")
	}
	y.do(func() { y.kill(workers[1]) })
	require.Eventually(t, gone(of[second]), 30*time.Second, 5*time.Millisecond)
}
