package pool

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/internal/pace"
	"understudy/sentinel"
	"understudy/worker/heir"
)

// heirs are the tasks that share the memory of Go workers (package
// worker/heir). They are children of ours like the workers, end right after
// them, and must be reaped like them.
type heirs struct {
	reaper Reaper
	post   func(func())
	// realtime asks for real-time priority for them.
	realtime bool
	pidfds   map[int]*os.File // by pid
	// told are those that a worker of ours has told of, and which. Others in
	// pidfds may be another keeper's, whose end is not ours to wait for.
	told map[int]*Worker
	// gone hears of the end of one that was told of.
	gone func(w *Worker)
}

// adopt keeps a handle on an heir, so that it is reaped when it ends. An heir
// that is known already stays as it is.
func (h *heirs) adopt(pid int) error {
	if h.pidfds[pid] != nil {
		return nil
	}
	pidfd, err := openChild(pid)
	if err != nil {
		return err
	}
	if err := h.reaper.Watch(pid, int(pidfd.Fd()), func(n sentinel.Notice) {
		if n.Kind == sentinel.Exited {
			go h.post(func() { h.reap(pid) })
		}
	}); err != nil {
		pidfd.Close()
		return fmt.Errorf("watch heir %d: %w", pid, err)
	}
	h.pidfds[pid] = pidfd
	return nil
}

// realtimeLimit bounds what an exit helper may take of a core in real time at a
// stretch. One that behaves takes less than a millisecond. A worker can write
// to its helper's code: beyond this the kernel kills it.
const realtimeLimit = 100 * time.Millisecond

// tell notes the heir that a worker has told of, and has it cut that worker's
// connections in real time, if that is wanted: otherwise it waits behind the
// standby's first work. The priority is the lowest, below the sentinel's, and
// the heir gives it back (package worker/heir). Without CAP_SYS_NICE the kernel
// refuses; then it waits.
func (h *heirs) tell(pid int, w *Worker) {
	h.told[pid] = w
	if !h.realtime {
		return
	}
	us := uint64(realtimeLimit.Microseconds())
	if unix.Prlimit(pid, unix.RLIMIT_RTTIME, &unix.Rlimit{Cur: us, Max: us}, nil) == nil {
		_ = unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	}
}

// adoptUntold adopts the heirs of workers that died before they could tell.
// workers says which children are workers and none.
func (h *heirs) adoptUntold(isWorker func(pid int) bool) error {
	pids, err := heir.Children()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if !isWorker(pid) {
			if err := h.adopt(pid); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *heirs) reap(pid int) {
	pidfd := h.pidfds[pid]
	if pidfd == nil {
		return
	}
	_, _ = sentinel.Reap(int(pidfd.Fd())) // a child, checked when it was adopted
	pidfd.Close()
	w := h.told[pid]
	delete(h.pidfds, pid)
	delete(h.told, pid)
	if w != nil {
		h.gone(w)
	}
}

// hasten gives an heir that still frees memory an ordinary share of the
// processor. Without CAP_SYS_NICE the kernel may refuse; then it takes longer.
func (h *heirs) hasten(pid int) {
	if h.pidfds[pid] != nil {
		_ = unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
	}
}

// openChild returns a handle on a process that must be our child.
func openChild(pid int) (*os.File, error) {
	if err := fault.Error(fault.HeirPidfd); err != nil {
		return nil, fmt.Errorf("pidfd of heir %d: %w", pid, err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd of heir %d: %w", pid, err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("heir %d is no child of the supervisor: %w", pid, err)
	}
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || string(name) != heir.Name+"\n" {
		unix.Close(fd)
		return nil, fmt.Errorf("child %d is no heir: its name is %q (%v)", pid, name, err)
	}
	return os.NewFile(uintptr(fd), "heir"), nil
}

const (
	// heirTries is how often an heir is adopted that cannot be watched, or has
	// not named itself yet, and heirPause the time between two tries.
	heirTries = 5
	heirPause = 20 * time.Millisecond
)

// adoptHeir takes over the heir that w has told of, as far as its word can be
// checked.
func (k *Keeper) adoptHeir(w *Worker, tries int) {
	pid := w.heirTold
	if pid <= 0 || w.heir != 0 || k.byPid[pid] != nil {
		return
	}
	err := k.heirs.claim(pid, w)
	switch {
	case err == nil:
		w.heir = pid
		k.heirs.tell(pid, w)
		if w.alive() {
			k.introduceHeir(w)
		}
	case tries > 1 && w.alive():
		k.loop.After(heirPause, func() { k.adoptHeir(w, tries-1) })
	default:
		w.log.Warn("worker's heir cannot be watched", "error", err)
	}
}

// claim adopts an heir that w says is its own. It must share the memory of w,
// and be told of by nobody else.
func (h *heirs) claim(pid int, w *Worker) error {
	if other := h.told[pid]; other != nil && other != w {
		return fmt.Errorf("heir %d is that of %s", pid, other.Name)
	}
	if w.alive() && !sharesMemory(pid, w.Pid) {
		return fmt.Errorf("process %d does not share the worker's memory", pid)
	}
	return h.adopt(pid)
}

// sharesMemory reports whether two processes have one memory (kcmp(2)). A kernel
// without kcmp, or one that does not let us look, does not say no.
func sharesMemory(a, b int) bool {
	const kcmpVM = 1
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpVM, 0, 0, 0)
	return errno != 0 || order == 0
}

// heirGone hears that the heir of w has ended. If w lives on, nothing cuts its
// connections when it dies, and the engine must not wait for that.
func (k *Keeper) heirGone(w *Worker) {
	w.heir = 0
	if w.alive() && !w.Dead() {
		w.log.Warn("worker's heir has ended before it")
		k.command("heir", w, k.engine.Heir(w.ID, 0, -1))
	}
}

func (k *Keeper) introduceHeir(w *Worker) {
	if w.doom != nil {
		k.command("heir", w, k.engine.Heir(w.ID, w.heir, int(w.doom.Fd())))
	}
}

// settleHeir sees to the heir of a worker that has died. One that died before
// it was ready may have left an heir that it never told of.
func (k *Keeper) settleHeir(w *Worker) {
	k.adoptHeir(w, 1) // if it could not be, so far
	switch {
	case w.heir != 0:
		k.loop.After(pace.Patience, func() { k.heirs.hasten(w.heir) })
	case w.pool.manifest.Heir && !w.life.warm:
		if err := k.heirs.adoptUntold(func(pid int) bool { return k.byPid[pid] != nil }); err != nil {
			w.log.Warn("heirs cannot be looked for", "error", err)
		}
	}
}
