// Package segment is the layout of a shared-memory segment, and what its
// writers and readers do with it.
//
// A segment is one header page and the data after it. The header carries the
// highest epoch that may write: a worker raises it before its first write
// ([Segment.Raise]), and a worker that finds a higher one has been replaced and
// must not write. That is a rule among willing programs; nothing stops one that
// does not ask.
//
// State that must never be found half-written goes through a [Cell]: it is
// built in one slot while the last committed one stays whole in another, and
// published by one compare-and-swap. A third slot keeps a predecessor that is
// doomed but not yet stopped out of everybody's way. Whatever instant a writer
// is killed at, the next one finds the last committed state.
//
// Processes that wait for each other sleep in the kernel by [Wait] and [Wake].
//
// The layout is for authors in other languages too: docs/PROTOCOL.md,
// "Segments".
package segment
