package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigsetSize is that of the kernel's sigset_t (rt_sigaction(2)).
const sigsetSize = 8

// defaultChildSignal gives SIGCHLD its default action, which is to do nothing. The
// Go runtime handles it to do nothing: so each death of a worker woke threads
// of the supervisor, at the moment when its successor has most to do. Children
// are waited for all the same (wait(2); to ignore the signal would reap them).
func defaultChildSignal() error {
	var action [64]byte // struct sigaction: SIG_DFL, no flags, no mask are all zeros
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD),
		uintptr(unsafe.Pointer(&action)), 0, sigsetSize, 0, 0); errno != 0 {
		return fmt.Errorf("SIGCHLD: %w", errno)
	}
	return nil
}
