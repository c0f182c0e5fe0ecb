//go:build linux && (amd64 || arm64)

package heir

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// flags of the clone. CLONE_UNTRACED keeps debuggers and strace -f from
	// taking the heir for one more thread. The exit signal is the worker's
	// own whatever is given here, because of CLONE_PARENT.
	flags = unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_FS | unix.CLONE_PARENT | unix.CLONE_PIDFD | unix.CLONE_UNTRACED

	// schedIdle is SCHED_IDLE of sched(7).
	schedIdle = 5

	// rush is how many connections the heir cuts in real time, if the parent
	// gave it that; the rest has to share the processor.
	rush = 64

	// setup is how long Start waits for the heir to be ready: some 50 µs are
	// usual, but many workers may be starting at once.
	setup = 5 * time.Second
)

// spawn clones with every signal blocked; the child never returns from it.
// A negative pid is a negative errno.
//
//go:noescape
func spawn(s *state, flags, stack uintptr) (pid int)

// Start gives this process an heir: once in the life of the process, early,
// but after any change of its credentials. The heir is a child of this
// process's parent, which has to reap it. When fence, an eventfd, becomes
// readable, the heir shuts the tracked connections down. fence may be nil; it
// is not needed any more after Start.
//
// After an error the process has no heir and is otherwise unharmed. The error
// is ErrNotSupported if a later attempt would fail as well.
func Start(fence *os.File) (*Heir, error) {
	h, err := start(fence)
	if err != nil {
		return nil, fmt.Errorf("start heir: %w", err)
	}
	return h, nil
}

func start(fence *os.File) (h *Heir, err error) {
	if err := unix.CloseRange(emptyRange, emptyRange, 0); err != nil {
		return nil, classify("close_range", err)
	}
	h = &Heir{}
	defer func() {
		if err != nil {
			h.release()
			h = nil
		}
	}()
	worker, err := unix.PidfdOpen(unix.Getpid(), 0)
	if err != nil {
		return h, classify("pidfd_open", err)
	}
	h.fds = append(h.fds, worker)
	doomed := -1
	if fence != nil {
		if doomed, err = duplicate(fence); err != nil {
			return h, fmt.Errorf("duplicate the fence: %w", err)
		}
		h.fds = append(h.fds, doomed)
	}
	if h.state, err = newState(); err != nil {
		return h, fmt.Errorf("map its memory: %w", err)
	}
	s := h.state
	s.fence = pollFD{fd: int32(doomed), events: unix.POLLIN}
	s.worker = pollFD{fd: int32(worker), events: unix.POLLIN}
	s.idle = unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: schedIdle, Nice: 19}
	copy(s.name[:], Name)
	s.all = ^uint64(0)
	s.rush = rush

	pid := spawn(s, flags, uintptr(unsafe.Pointer(s))) // the stack ends where the state begins
	if pid < 0 {
		return h, classify("clone", unix.Errno(-pid))
	}
	h.pid, h.pidfd = pid, int(s.pidfd)
	h.fds = append(h.fds, h.pidfd)
	if !s.awaitReady(setup) {
		return h, errors.Join(fmt.Errorf("not ready after %v; a seccomp filter may forbid one of its system calls", setup), h.end())
	}
	return h, nil
}

// emptyRange names no descriptor that can exist (and fits the unsigned int
// that close_range takes).
const emptyRange = 1<<32 - 1

// classify says ErrNotSupported for what will not change: a call that the
// kernel does not have or a sandbox forbids, and clone's EINVAL for the init
// of a PID namespace, which may not have siblings.
func classify(call string, err error) error {
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: %s: %w", ErrNotSupported, call, err)
	}
	return fmt.Errorf("%s: %w", call, err)
}

// duplicate gives the heir a descriptor of its own of the fence.
func duplicate(fence *os.File) (int, error) {
	raw, err := fence.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(f uintptr) {
		fd, dupErr = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, err
	}
	return fd, dupErr
}
