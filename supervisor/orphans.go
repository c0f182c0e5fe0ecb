package supervisor

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/procfs"
)

// orphanPause is the time between two looks for orphans. One is reaped when two
// looks in a row have seen it dead, so that whoever waits for it has had time.
const orphanPause = 250 * time.Millisecond

// reapOrphans reaps the processes that the kernel gave to us when their parents
// ended: as PID 1 of a container nobody else does. Workers, heirs and the
// sentinel process are waited for elsewhere, and are left alone.
func (s *Supervisor) reapOrphans(ctx context.Context) {
	if os.Getpid() != 1 {
		return
	}
	seen := map[int]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(orphanPause):
		}
		dead := map[int]bool{}
		for _, pid := range children() {
			if st, err := procfs.ReadStat(pid); err == nil && st.Ended() {
				dead[pid] = seen[pid]
			}
		}
		done := make(chan struct{})
		if s.loop.Post(func() {
			defer close(done)
			for pid, before := range dead {
				if before && pid != s.engine.Pid() && !s.manager.Keeper().Owns(pid) {
					_, _ = unix.Wait4(pid, nil, unix.WNOHANG|unix.WALL, nil)
				}
			}
		}) != nil {
			return
		}
		select {
		case <-done:
		case <-s.loop.Ended():
			return
		}
		clear(seen)
		for pid := range dead {
			seen[pid] = true
		}
	}
}

// children are the child processes of every thread of this process.
func children() (pids []int) {
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		b, _ := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		for field := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
