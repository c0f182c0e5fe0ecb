// Package sentinel notices the deaths of processes, on one thread, as early as
// the machine permits, and reaps.
//
// A pidfd tells of a death after the kernel has freed the dead process's
// memory and written its core dump, which takes up to seconds. So there is a
// ladder of earlier sources (ladder.go), chosen by trying each out on a
// throw-away child; the pidfd always runs beside as the truth.
//
//   - kernel: three BPF programs see fatal signals and exits (kernel_*.go).
//   - connector: without privilege, of core dumps only (connector.go).
//   - pidfd: nothing earlier.
//
// A notice says how far the death has gone. Doomed: there is no way back, and
// route, activation and accepting may move on. Fenced: no thread of the process
// runs user code any more, and what it wrote to may be handed over. Exited: it
// can be reaped. A signal with a handler, an exec from any thread, and a first
// thread that exits before the others are no deaths.
//
// What a dying process does beside its successor is kept small: Demote,
// DemoteDumper and HoldDump.
//
// The thread waits in epoll. What wakes it there is a matter of the kernel
// alone, but going on takes a P of the Go scheduler: in a process with more to
// do than its Ps it waits for the others (10 ms and more). A failover belongs
// into a process of its own, as package takeover does it.
package sentinel
