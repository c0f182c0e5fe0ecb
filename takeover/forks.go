package takeover

import (
	"golang.org/x/sys/unix"

	"understudy/internal/fault"
)

const (
	// maxForks bounds how many processes are killed before an activation. What
	// is left ends when the worker is reaped.
	maxForks = 1024
	// forkRounds bounds how often the list is read again: a process that forks
	// while it is being killed leaves another.
	forkRounds = 8
	// pidfdSignalProcessGroup is PIDFD_SIGNAL_PROCESS_GROUP of linux/pidfd.h.
	pidfdSignalProcessGroup = 1 << 2
)

// forkKiller ends what a doomed worker forked. Such processes have its
// listening socket, and would serve at its epoch beside its successor.
type forkKiller struct {
	list   []byte
	killed []int
}

func newForkKiller() forkKiller {
	return forkKiller{list: make([]byte, maxForks*8), killed: make([]int, 0, maxForks)}
}

// prepare reads a worker's list once: with the first reading of an open file the
// kernel takes the memory for it.
func (f *forkKiller) prepare(h *handles) {
	if h.procs >= 0 {
		_, _ = unix.Pread(h.procs, f.list, 0)
	}
}

// kill ends every process of the worker's cgroup but itself and its heir, or
// of its process group where it has no cgroup of its own. A worker that dumps
// core must not be killed: that would cut the dump short. So its group is left
// then, until it is reaped.
func (f *forkKiller) kill(h *handles, dumps bool) {
	switch {
	case h.procs >= 0:
		f.killListed(h)
	case !dumps:
		// By the pidfd, since Linux 6.9: the group's number may be another's
		// when the worker was reaped.
		if unix.PidfdSendSignal(h.pidfd, unix.SIGKILL, nil, pidfdSignalProcessGroup) == unix.EINVAL {
			_ = unix.Kill(-h.pid, unix.SIGKILL)
		}
	}
}

// killListed reads and kills until a list has nobody new. A process in the list
// is in the worker's cgroup; that its number becomes another's between the
// reading and the signal takes a whole turn of the kernel's numbers within
// microseconds.
func (f *forkKiller) killListed(h *handles) {
	f.killed = f.killed[:0]
	for range forkRounds {
		if fault.At(fault.EngineProcs) != 0 {
			return
		}
		n, err := unix.Pread(h.procs, f.list, 0)
		if err != nil {
			return
		}
		if !f.killNew(f.list[:n], h) {
			return
		}
	}
}

// killNew kills whom the list names and was not killed yet. It reports whether
// there was one, and whether there may be more.
func (f *forkKiller) killNew(list []byte, h *handles) (more bool) {
	pid := 0
	for _, c := range list {
		if c >= '0' && c <= '9' {
			pid = pid*10 + int(c-'0')
			continue
		}
		if pid > 0 && pid != h.pid && pid != h.heir && !f.done(pid) {
			if len(f.killed) == maxForks {
				return false
			}
			f.killed = append(f.killed, pid)
			_ = unix.Kill(pid, unix.SIGKILL)
			more = true
		}
		pid = 0
	}
	return more
}

func (f *forkKiller) done(pid int) bool {
	for _, p := range f.killed {
		if p == pid {
			return true
		}
	}
	return false
}
