// Package monotime reads CLOCK_MONOTONIC, the clock of every notice, route and
// event that is compared with another process's.
package monotime

import "golang.org/x/sys/unix"

// Now is CLOCK_MONOTONIC in nanoseconds (clock_gettime(2)).
func Now() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail for this clock
	return t.Nano()
}
