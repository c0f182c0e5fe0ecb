//go:build linux && (amd64 || arm64)

package heir

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Heir is the task that outlives this process for a moment. All methods may be
// called at once from any goroutine, and on a nil Heir, where they do nothing.
type Heir struct {
	pid   int
	pidfd int
	fds   []int // all that it opened: pidfds of the worker and the heir, the fence
	state *state
	once  sync.Once

	listens sync.Mutex // held while the listener's address is written
}

// Pid returns the process id of the heir, in this process's PID namespace, or
// 0 if there is none.
func (h *Heir) Pid() int {
	if h == nil {
		return 0
	}
	return h.pid
}

// Track makes the heir shut down the connection with this descriptor when the process is
// fenced or dead. It is one atomic operation. A descriptor above 65535 is
// ignored: it is closed at death, like every other, but not at the fence.
// Listening sockets are never shut down.
func (h *Heir) Track(fd int) {
	if h == nil || uint(fd) >= trackable {
		return
	}
	h.state.tracked[fd/64].Or(1 << (fd % 64))
}

// Untrack takes Track back. It must come before the descriptor is closed or
// handed to another process; otherwise what reuses the number is shut down in
// its place.
func (h *Heir) Untrack(fd int) {
	if h == nil || uint(fd) >= trackable {
		return
	}
	h.state.tracked[fd/64].And(^uint64(1 << (fd % 64)))
}

// Listens tells the heir of the worker's listening socket. What was accepted
// from it and is not tracked yet, because the thread died in between, is shut
// down a moment after the rest. A process has one: a further call replaces it.
func (h *Heir) Listens(fd int) {
	if h == nil {
		return
	}
	h.listens.Lock()
	defer h.listens.Unlock()
	h.state.listenerLen.Store(0)
	n := uint32(nameLen)
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd),
		uintptr(unsafe.Pointer(&h.state.listener)), uintptr(unsafe.Pointer(&n)))
	// A socket without a name has nothing but its family.
	if errno == 0 && n > unix.SizeofShort && n <= nameLen {
		h.state.listenerLen.Store(n)
	}
}

// Stop ends the heir and returns when it holds nothing any more. It is for a
// process that is about to replace itself by execve; see the package's text.
// The parent sees a child killed by signal 9. Only the first call counts.
func (h *Heir) Stop() (err error) {
	if h == nil {
		return nil
	}
	h.once.Do(func() {
		if err = h.end(); err == nil {
			h.release()
		}
	})
	return err
}

// end kills the heir. It has given up memory and descriptors before its pidfd
// becomes readable.
func (h *Heir) end() error {
	err := unix.PidfdSendSignal(h.pidfd, unix.SIGKILL, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill heir %d: %w", h.pid, err)
	}
	ended := []unix.PollFd{{Fd: int32(h.pidfd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(ended, -1)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for the end of heir %d: %w", h.pid, err)
		}
	}
}

// release closes the descriptors. The state stays mapped: Track may still be
// called, and 20 KiB once in a process are no leak.
func (h *Heir) release() {
	for _, fd := range h.fds {
		_ = unix.Close(fd)
	}
	h.fds = nil
}
