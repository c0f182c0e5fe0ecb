// Package heir makes the death of a process visible at once, however much
// memory it holds, without privilege, and ends its connections for clients
// that know nothing of any supervisor.
//
// # Why
//
// do_exit (kernel/exit.c) frees the memory first (exit_mm), then closes the
// descriptors (exit_files), then tells the parent and the pidfd (exit_notify).
// With 1 GB resident everybody waits 25 to 70 ms; while a core dump is written
// the connections stay open for as long as that takes.
//
// If another task shares the memory, exit_mm only drops a reference and the
// rest follows at once. Start makes such a task, the heir: a clone with
// CLONE_VM, so that the memory outlives the worker, and CLONE_FILES, so that
// the heir can act on the worker's descriptors and close them in its stead. It
// sleeps in ppoll. It then
//
//  1. shuts the tracked connections down when the supervisor writes to the
//     fence, and again, at growing intervals from 0.25 ms on, until the worker
//     is dead, since it may accept for a moment more. A thread that died
//     between accept and Track left a connection that nobody tracks: so every
//     time but the first it looks for descriptors that have the listener's
//     address ([Heir.Listens]), last when the worker is dead. Without that 2
//     of 60 clients that connected at the moment of the kill hung until the
//     core of 512 MB was written;
//  2. when the worker is dead (its pidfd says so, and unshare(2) confirms that
//     nobody shares the memory any more) does so a last time, and 2.5 ms later
//     closes every descriptor, which wakes the process at the other end of a
//     pipe: the next worker's first answers come before that;
//  3. rests for 10 ms, lowers itself to SCHED_IDLE, and exits, which frees the
//     memory in time that nobody else wants. It rests because a kernel that
//     does not preempt itself makes a task that wakes wait for a moment even behind
//     SCHED_IDLE, and those first milliseconds are the next worker's.
//
// Kill to pidfd and kill to the client's end of file, p50, on a machine with 2
// cores and Linux 6.18: 0.1 and 0.15 ms with an heir at any size; without, 0.3
// ms with an empty worker, 2.5 with 64 MB, 9 with 256 MB, 50 with 1 GB. See
// BenchmarkDeath. Tested on Linux 5.10, 6.1 (arm64, emulated) and 6.18 (amd64).
//
// # What the parent has to do
//
// The heir is the worker's sibling (CLONE_PARENT), so the worker's wait calls
// never see it and the worker's parent has to reap it, with __WALL. It exits
// with 0; with 1 if it left because it was in doubt; and by signal 9 if
// somebody killed it.
//
//   - The worker tells its parent the heir's pid. If it dies before that (in
//     its warm-up, say) it leaves a child that the parent does not know, which
//     [Children] finds: look when a worker dies before it is ready. Starting
//     the heir as the last thing before telling makes this rare. If the parent
//     is dead as well, init or a subreaper reaps.
//   - The parent may give the heir real-time priority, so that the first cut
//     does not wait for a core. It gives it back after that cut, or after 64
//     connections, for the rest not to keep others from theirs.
//   - The worker's memory is free when the heir is reaped, not when the worker
//     is. On a machine without idle time SCHED_IDLE frees 1 GB in seconds, not
//     milliseconds. With CAP_SYS_NICE the parent can hasten that, by
//     sched_setattr on the heir some 100 ms after the death.
//   - Do not kill the heir when the worker dies: it would free the memory
//     before it closes the connections. Nor use cgroup.kill for a kill that
//     has to be seen at once. Signals to the worker's process group are fine:
//     the heir has its own.
//
// # What the worker must not do
//
//   - execve. The new program gets its own memory and descriptors, and the
//     heir keeps the old ones until that program dies: close-on-exec closes
//     nothing, and the old memory stays. Call [Heir.Stop] first. os/exec is
//     fine: its child has its own descriptor table and shares the memory only
//     until it has called execve itself.
//   - Close descriptors it does not own. An heir that finds its own closed or
//     replaced leaves without touching anything; the worker goes on without.
//   - Set SO_LINGER above 0 on sockets. A close in exit does not linger; the
//     heir's close does, and everything behind it waits.
//   - Change credentials, namespaces or seccomp filters after Start: the heir
//     keeps what it was born with.
//   - Be init of a PID namespace: such a process may not have siblings (EINVAL
//     of clone, ErrNotSupported).
//
// # What else changes
//
//   - Memory is shown twice, in ps and in sums over /proc, smaps included.
//     Cgroup accounting is exact: pages are charged once. Both tasks are in
//     the worker's cgroup, where the heir counts as one task (pids.max,
//     RLIMIT_NPROC), and the cgroup is empty only when the memory is free.
//     When the worker dies the kernel makes the heir the owner of the memory
//     (mm_update_next_owner), so charges stay where they are. Move both when
//     moving a worker to another cgroup.
//   - What ends only when a descriptor is closed outlives the worker by 2.5 ms:
//     file locks, ports that the worker had bound by itself, connections that
//     nobody tracks. The next worker has to try again if it finds them taken.
//   - Mappings of shared memory (memfd, System V) last until the heir is gone.
//     No user code of the worker can write to them once its pidfd is readable.
//   - The OOM killer kills all tasks that share the memory and may name the heir in
//     the log. The heir dies too, so an OOM kill may be noticed as late as
//     without one. The two share oom_score_adj.
//   - A core dump: since Linux 5.16 only the dumping process is stopped
//     (0258b5fd7c71), and the heir works while the core is written. Descriptors
//     are closed after the dump, since the dumping thread takes a copy of the
//     table (unshare_files). Before 5.16 the heir is killed with the worker:
//     nothing is worse than without one, nothing better.
//   - A debugger and strace -f do not see the heir (CLONE_UNTRACED). A tracer
//     that started the worker is the heir's parent and sees an unknown child
//     exit. A breakpoint in the heir's code would kill the heir.
//
// # Why it is safe
//
//   - The heir runs only the assembly in spawn_*.s: no g, no stack growth, no
//     thread-local storage (it inherits the cloning thread's register and never
//     uses it), no libc. The kernel gives a CLONE_VM child no robust list, no
//     rseq, no alternate signal stack and no clear_child_tid of its parent's.
//   - Its signal handlers are a copy of Go's and must never run: every signal
//     is blocked before clone and unblocked only in the parent, in one stretch
//     of assembly. Only SIGKILL and SIGSTOP reach it; after a stop it goes on
//     waiting. A fault in it has the default action and kills only the heir
//     (and, before 5.16, with a core dump, the worker).
//   - Go's own threads, garbage collector and preemption signals do not know of
//     it: signals are sent to threads of the process, of which it is none.
//   - All they have in common is one mapping outside the Go heap, pages locked,
//     below a guard page; Track and Untrack are one atomic operation on it.
//     What the heir may do wrong is bounded: it shuts down only tracked
//     sockets, never a listening one, and closes only after the second proof.
//   - It cannot outlive the worker. The pidfd is opened by the worker itself,
//     for itself, before clone: if the worker dies before, during or after
//     clone, either there is no heir or its first ppoll returns. The
//     supervisor's death is no event for it: a datagram socket
//     never hangs up.
//   - A vfork child that still shares the memory at the worker's death makes
//     the heir leave at once, which closes the descriptors all the same; that
//     child then frees the memory when it calls execve.
//   - If it cannot be started, or dies early, the worker goes on without.
package heir
