package supervisor

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/procfs"
)

// orphanPause is the time between two looks for orphans. One is reaped when two
// looks in a row have seen it dead: code that waits for it has had time to.
const orphanPause = 250 * time.Millisecond

// reapOrphans reaps the processes that the kernel gave to us when their parents
// ended: as PID 1 of a container, and where we asked for what workers leave,
// nobody else does. Workers, heirs and the sentinel process are waited for
// elsewhere, and are left alone.
func (s *Supervisor) reapOrphans(ctx context.Context) {
	if os.Getpid() != 1 && !s.strays {
		return
	}
	seen := map[int]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(orphanPause):
		}
		if !anyDead() {
			clear(seen)
			continue
		}
		dead := map[int]bool{}
		for _, pid := range procfs.Children() {
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

// anyDead reports whether a child of ours waits to be reaped: one system call,
// where to look at every child takes some for each.
func anyDead() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
	return err == nil && info.Signo != 0
}

// adoptStrays makes us the parent of what dead workers leave behind, where they
// have no control groups that would hold it. Only a daemon may: the children of
// a program that we are a part of are its own to wait for.
func (s *Supervisor) adoptStrays() {
	if s.groups != nil || s.cfg.SentinelExe == "" {
		return
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		s.log.Warn("processes that dead workers leave behind cannot be found", "error", err)
		return
	}
	s.strays = true
}
