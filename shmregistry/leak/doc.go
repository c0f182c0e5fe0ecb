// Package leak finds shared memory that workers made themselves, and removes
// what they left behind once that is proven safe.
//
// A worker may make POSIX shared memory, POSIX semaphores (sem.* in the same
// directory), POSIX message queues and System V segments. All of them outlive
// a process killed by SIGKILL. The package never removes one unless two
// things are proven.
//
// # Who made it
//
// Files: fanotify(7) tells of each creation with the pid of the process that
// made it, in the order of the events, so that even a worker which dies at
// once is known. The kernel tells pids only to a listener with CAP_SYS_ADMIN
// (fs/notify/fanotify/fanotify_user.c, copy_event_to_user). Events of the same
// process and name may be merged, so the object is looked at when its event is
// read, and one that two processes are said to have made counts as unproven.
// fanotify refuses a file system without an id: mqueue has one on Linux 6.18
// and none on 6.1 (both seen).
// A member of the worker's process group, or a descendant, counts as the
// worker.
//
// Without that privilege inotify(7) names the new object, and the watched
// processes' descriptors and maps are searched for it. That shows who uses an
// object, not who made it (inotify merges equal events, so opens cannot be
// counted either): such objects are reported and kept.
//
// System V: /proc/sysvipc/shm has the creator's pid (sysvipc(7), proc(5)). A
// segment counts as the worker's if it was not there when the watch began, or
// its time is later than the worker's start. Semaphore sets and message queues
// of System V carry no creator: they are left alone.
//
// # That nobody holds it
//
// Files: a write lease, fcntl(2) F_SETLEASE with F_WRLCK, is granted only if
// the caller's descriptor is the only open one (fs/locks.c,
// check_conflicting_open). Seen on Linux 6.18, on tmpfs and on mqueue: it is
// refused with EAGAIN for another descriptor (read or write), for a mapping
// whose descriptor is closed (shared or private, read or write), for a mapping
// that only a forked child has, and for a descriptor in flight over a unix
// socket; it is granted as soon as those are gone. An O_PATH descriptor does
// not count. This sees other containers and pid namespaces, which no search of
// /proc can; therefore there is no fallback to such a search. A lease needs the
// owner's uid or CAP_LEASE. [New] probes it on an unnamed file; without it
// everything is kept and reported. Before Linux 5.1 read-only openers were
// counted in another way; the probe covers both.
//
// While the lease is held the name is compared with the object (device, inode,
// birth time where statx(2) has one) once more, then removed. A process that
// opens it by name in these microseconds waits for the lease (or gets
// EWOULDBLOCK), and may then hold an object whose name has just gone; its memory stays whole.
//
// System V: IPC_RMID if nobody is attached (nattch is 0). If somebody attaches
// in between, the segment lives until the last one detaches (shmctl(2)).
//
// # Later
//
// What others still hold when the worker ends is kept and reported, and
// removed when the last of them closes it: the close is an event. Nothing is
// polled; only a refused lease is tried again a few times, because the event of
// a close comes just before the count goes down (fs/file_table.c, __fput).
// System V has no such event: [Finder.Reconcile] looks again.
//
// A child of the worker may have made an object and live on: it is kept until
// that child is gone too, and [Finder.Reconcile] or a close looks again.
//
// With a state file a restart knows what was known, of workers that died
// meanwhile too. Without one, or for what was made while nobody listened, a
// worker that is older than the finder may have objects that nobody saw being
// made. What it has open or mapped when the watch begins, and is not older than
// the worker, is counted and in the end reported and kept.
//
// Not seen: directories under /dev/shm, a worker with another mount or IPC
// namespace, System V segments of a worker's children.
package leak
