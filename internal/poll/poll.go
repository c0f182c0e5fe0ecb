// Package poll asks one descriptor what it is ready for. The signals of the Go
// runtime interrupt poll(2), whatever its timeout, and say nothing of the
// descriptor.
package poll

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Now returns which of events fd is ready for, and its errors.
func Now(fd int, events int16) (ready int16, err error) { return Wait(fd, events, 0) }

// Wait waits until fd is ready for one of events, or has an error. The timeout
// is no shorter than that; below 0 there is none. ready is 0 after it.
func Wait(fd int, events int16, timeout time.Duration) (ready int16, err error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	deadline := time.Now().Add(timeout)
	for {
		left := -1
		if timeout >= 0 {
			left = int((max(0, time.Until(deadline)) + time.Millisecond - 1) / time.Millisecond)
		}
		_, err := unix.Poll(p, left)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return p[0].Revents, os.NewSyscallError("poll", err)
	}
}
