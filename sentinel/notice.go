package sentinel

import (
	"fmt"
)

// Kind says how far a death has gone.
type Kind uint8

// The kinds of notices, in the order in which they come. Each comes at most
// once for a process, and Exited always does. Any other may be missing: a later
// one implies the earlier.
const (
	// Doomed: there is no way back, though threads may run for some
	// microseconds more, and a core dump is still to be written.
	Doomed Kind = iota + 1
	// Fenced: no user code of the process will run again; its memory is still
	// there.
	Fenced
	// Exited: the process can be reaped.
	Exited
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Doomed:
		return "doomed"
	case Fenced:
		return "fenced"
	case Exited:
		return "exited"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Notice is one step of a process's death.
type Notice struct {
	Pid    int
	Kind   Kind
	Source Source
	// At is the kernel's time of the event and Seen the sentinel's, both
	// CLOCK_MONOTONIC nanoseconds; At is 0 where the source does not tell it.
	At, Seen int64
	// Signal is what kills it, 0 where that is not known or there was none.
	Signal int
	// Dumper is the thread that writes a core dump, if its size limit allows
	// any; 0 of other deaths.
	Dumper int
}

// Handler takes a process's notices, on the sentinel's thread: it must not
// block. It may call Watch, WatchFD, Unwatch and Close.
type Handler func(Notice)
