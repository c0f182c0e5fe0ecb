package realtime

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DieAtOnce gives the signals of a fault their default action: death, with a core where that is allowed. The Go
// runtime would stop its world first, which takes it some 5 ms (runtime/panic.go, startpanic_m; runtime/proc.go,
// freezetheworld): a whole block, for a trace that a core has too. A fault can not be recovered from any more.
func DieAtOnce() error {
	// struct sigaction of the kernel: SIG_DFL, no flags, no mask. It is the size of the longest, amd64's; the mask has
	// 8 bytes everywhere.
	var dfl [32]byte
	for _, sig := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGABRT, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP} {
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&dfl)), 0, 8, 0, 0); errno != 0 {
			return fmt.Errorf("default action of %s: %w", unix.SignalName(sig), errno)
		}
	}
	return nil
}
