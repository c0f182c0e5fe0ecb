package segment

import (
	"errors"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrTimeout says that nothing happened in the time given.
var ErrTimeout = errors.New("timed out")

// The operations of futex(2), from include/uapi/linux/futex.h. None is
// FUTEX_PRIVATE: the other side is another process.
const (
	futexWake       = 1
	futexWaitBitset = 9
	anyBit          = 0xffffffff
)

// Wait sleeps until somebody calls [Wake] on addr. It returns nil at once where
// the word is not old any more, and [ErrTimeout] after the timeout; a negative
// timeout never ends. A nil says that something happened, not what, and may be
// false: the caller looks at the word and waits again. Nothing wakes threads that
// wait for a process that was killed, so a wait for another process has a
// timeout.
//
// addr must lie in a shared mapping and be a multiple of four: futex(2).
func Wait(addr *uint32, old uint32, timeout time.Duration) error {
	if atomic.LoadUint32(addr) != old {
		return nil
	}
	if timeout == 0 {
		return ErrTimeout
	}
	// FUTEX_WAIT_BITSET takes a point in time, on CLOCK_MONOTONIC, so an
	// interrupted wait begins again as it was.
	var until *unix.Timespec
	if timeout > 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return err
		}
		t := unix.NsecToTimespec(now.Nano() + int64(timeout))
		until = &t
	}
	for {
		_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWaitBitset,
			uintptr(old), uintptr(unsafe.Pointer(until)), 0, anyBit)
		switch errno {
		case 0, unix.EAGAIN:
			return nil
		case unix.EINTR:
			if atomic.LoadUint32(addr) != old {
				return nil
			}
		case unix.ETIMEDOUT:
			return ErrTimeout
		default:
			return errno
		}
	}
}

// Wake wakes up to n waiters on addr, in any process.
func Wake(addr *uint32, n int) {
	// The only errors of FUTEX_WAKE are a bad address and a bad operation, and
	// neither can come from a mapped word.
	_, _, _ = unix.Syscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), futexWake, uintptr(n))
}
