package pool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/sentinel"
)

// childrenNow are our child processes, dead ones too.
func childrenNow(t *testing.T) (out []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, name := range stats {
		b, _ := os.ReadFile(name)
		var state string
		var parent int
		if _, rest, ok := strings.Cut(string(b), ") "); ok {
			if _, err := fmt.Sscan(rest, &state, &parent); err == nil && parent == os.Getpid() {
				out = append(out, string(b))
			}
		}
	}
	return out
}

// A worker's heir is our child as well: however the worker ends, both are
// reaped before the keeper is idle.
func TestWorkerAndHeirAreReaped(t *testing.T) {
	for name, end := range map[string]func(y *yard, w *Worker){
		"killed":  func(y *yard, w *Worker) { _ = y.Signal(w, unix.SIGKILL) },
		"retired": func(y *yard, w *Worker) { y.End(w, w.pool.manifest.GracePeriod, false) },
		"forced":  func(y *yard, w *Worker) { y.End(w, 0, true) },
		"failed":  func(y *yard, w *Worker) { y.Fail(w, Cause{Kind: CauseNotServing, Err: os.ErrDeadlineExceeded}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("yard", func(t *testing.T) {
				y := newYard(t, never, role("good"))
				w := next(t, y.ready)
				require.Len(t, childrenNow(t), 2, "a worker and its heir")
				y.do(func() { end(y, w) })
				next(t, y.exited)
			}) // it is idle now
			require.Empty(t, childrenNow(t))
		})
	}
}

// What writes a worker's core dump does not wait for ever for an idle core.
func TestDumpGetsAShareBack(t *testing.T) {
	y := newYard(t, never, role("good"))
	w := next(t, y.ready)
	sentinel.DemoteDumper(w.Pid)
	policy := func() uint32 {
		attr, err := unix.SchedGetAttr(w.Pid, 0)
		require.NoError(t, err)
		return attr.Policy
	}
	require.Equal(t, uint32(unix.SCHED_IDLE), policy())
	if err := unix.SchedSetAttr(w.Pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0); err != nil {
		t.Skipf("needs CAP_SYS_NICE to undo it: %v", err)
	}
	sentinel.DemoteDumper(w.Pid)
	y.do(func() { y.Dumping(w, w.Pid) })
	require.Eventually(t, func() bool { return policy() == unix.SCHED_NORMAL }, 10*time.Second, time.Millisecond)
}

// A worker that does not listen is killed when its grace is over.
func TestGracePeriodIsBounded(t *testing.T) {
	m := role("healthy once")
	m.Probe.Interval = 0
	y := newYard(t, never, m)
	w := next(t, y.ready)
	y.do(func() { y.End(w, m.GracePeriod, false) })
	require.Equal(t, "killed by SIGKILL", next(t, y.exited))
}

// The exit of an active worker waits for the engine's word of its death. If that
// does not come, the end of its control socket and a moment will do.
func TestExitOfAnActiveWorkerWaitsForTheEngine(t *testing.T) {
	y := newYard(t, never, role("good"))
	active := next(t, y.ready)
	var killed time.Time
	y.do(func() {
		y.Activated(active.ID, "shared:a", 1)
		killed = time.Now()
		require.NoError(t, y.Signal(active, unix.SIGKILL))
	})
	require.Equal(t, "killed by SIGKILL", next(t, y.exited))
	require.GreaterOrEqual(t, time.Since(killed), controlGrace)
}
