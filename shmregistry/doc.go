// Package shmregistry keeps the shared-memory segments that workers are given:
// it makes them, knows whose they are, hands them on when their worker dies,
// and sees that none outlives its binding.
//
// A segment is a memfd, which cannot leak, or has a name in /dev/shm, so that
// programs which the supervisor did not start can open it. Each belongs to a
// binding, and its policy says what becomes of it when the worker that has it
// dies: a [Handover] segment goes to the next active worker as it is, an
// [Unlink] segment goes away.
//
// The registry is in memory, and behind it on disk as segments.json: written as
// a whole, beside the caller, never torn. What a crash keeps from being written
// is not lost: a segment's name and header carry the registry's instance id, so
// the next [Open] finds it, and nothing that lacks both is ever touched.
//
// The layout of a segment is in the package segment.
package shmregistry
