package sentinel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// lowest is the least nice value a process can have.
const lowest = 19

// Demote takes the priority of every thread in the process group that pid
// leads, with one system call (setpriority(2) of a group reaches each thread).
// A dying task frees its memory without yielding; whoever must answer in its
// place may be waiting for its core.
//
// The time for it is Fenced, when the freeing begins: sooner it also holds up
// the threads that have yet to die. With 256 MB and both of two cores busy, a
// process demoted at Doomed was fenced 48 ms after its kill (median), one
// demoted at Fenced 0.14 ms after it, and whoever was to answer was awake as
// soon. With an idle core there is no such difference. Where no Fenced comes, or
// waking for it costs more and nobody waits for it, the time is Doomed
// (docs/decisions/004-first-millisecond.md); after Exited there is nothing left to slow down.
//
// SCHED_IDLE for the first thread alone does not reach the thread that frees
// the memory, which is the last to die; for each thread it costs a system call
// each and gains nothing over this.
func Demote(pid int) {
	_, _, _ = unix.RawSyscall(unix.SYS_SETPRIORITY, unix.PRIO_PGRP, uintptr(pid), lowest)
}

// DemoteDumper has a thread that writes a core dump (Notice.Dumper) give its
// core to everybody who wants it. The lowest nice value alone does not: since
// Linux 6.6 a thread is left alone until the end of its slice, some
// milliseconds, unless its policy is SCHED_IDLE (kernel/sched/fair.c,
// RUN_TO_PARITY). The time for it is Doomed: the dump begins when all other
// threads have stopped. On a machine that is never idle the dump takes very
// long with it; PromoteDumper ends that.
func DemoteDumper(thread int) {
	var parameter int32 // sched_priority, 0 for this policy
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, uintptr(thread), unix.SCHED_IDLE, uintptr(unsafe.Pointer(&parameter)))
}

// PromoteDumper takes DemoteDumper back for a thread that process pid, which is
// not reaped yet, may still have; it keeps the lowest nice value. Without
// CAP_SYS_NICE the kernel may refuse; then the dump takes longer.
func PromoteDumper(pid, thread int) {
	if unix.Tgkill(pid, thread, 0) == nil { // the number is still that thread's
		_ = unix.SchedSetAttr(thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: lowest}, 0)
	}
}
