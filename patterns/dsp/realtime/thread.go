// Package realtime gives a goroutine an OS thread of its own that the kernel runs at once when it wakes.
package realtime

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Priority is the lowest real-time priority: above everything ordinary, below what else the machine runs in real time.
const Priority = 1

// room is one processor of the Go scheduler for the thread and one for a start of the garbage collector beside it.
const room = 2

// MakeRoom has the Go scheduler run more goroutines at once, so that a thread that comes back from a wait in the kernel
// finds a processor free: else it would wait until another goroutine gives way, up to 10 ms. It is called once, early,
// as it stops the world.
func MakeRoom() { runtime.GOMAXPROCS(runtime.NumCPU() + room) }

// Lock binds the calling goroutine to its OS thread for good and asks for SCHED_FIFO (sched(7)). Threads and processes
// that the thread starts do not inherit it. It says what the thread runs at, and why not in real time.
func Lock(wanted bool) (scheduling string) {
	runtime.LockOSThread()
	if !wanted {
		return "normal: turned off"
	}
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO,
		Priority: Priority, Flags: unix.SCHED_FLAG_RESET_ON_FORK}, 0)
	if err != nil {
		return fmt.Sprintf("normal: SCHED_FIFO: %v; needs CAP_SYS_NICE or RLIMIT_RTPRIO", err)
	}
	return fmt.Sprintf("SCHED_FIFO %d", Priority)
}
