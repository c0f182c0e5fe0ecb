package worker

import (
	"time"

	"understudy/internal/gomonitor"
)

// monitorSlack is how much later than it asks for the monitor of the Go
// scheduler wakes in a standby, and for a breather after its activation. It
// would look 10 to 15 times while the first clients are answered, and take some
// 50 µs of the processors that they wait for. What it does is late by as much: a
// goroutine in a long system call keeps its P a millisecond longer.
const monitorSlack = time.Millisecond

// calmMonitor returns what takes it back, nil where it is not permitted.
func calmMonitor() (usual func()) {
	was, err := gomonitor.Slack(monitorSlack)
	if err != nil { // needs CAP_SYS_NICE
		return nil
	}
	return func() { _, _ = gomonitor.Slack(was) }
}
