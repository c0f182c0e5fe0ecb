package pool

import (
	"golang.org/x/sys/unix"
)

// aheadInFlight is how many descriptors more than a worker the engine may have
// on their way through unix sockets.
const aheadInFlight = 1024

// limitFiles gives a process a lower limit of descriptors than ours. What is in
// flight in unix sockets is counted for each user, and a sender is held against
// a limit of its own (ETOOMANYREFS, unix(7)). So a worker that fills sockets of
// its own is refused before the engine is, which runs as the same user and has
// our limit. Root is not held against it: its workers keep the limit that the
// supervisor was started with.
func limitFiles(pid, uid int) error {
	if uid == 0 {
		return nil
	}
	var ours, theirs unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &ours); err != nil {
		return err
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &theirs); err != nil {
		return err
	}
	limit := below(ours.Max)
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(theirs.Cur, limit), Max: min(theirs.Max, limit)}, nil)
}

// below is the limit of a worker where ours is most.
func below(most uint64) uint64 { return max(most/2, most-min(most, aheadInFlight)) }
