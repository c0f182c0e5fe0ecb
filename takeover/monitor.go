package takeover

import (
	"errors"
	"fmt"
	"os"
	"time"

	"understudy/internal/gomonitor"
	"understudy/sentinel"
)

// monitorSlack is how much later than it asks for the Go scheduler's monitor
// wakes: for as good as never.
const monitorSlack = time.Hour

// stillMonitor has the monitor of the Go scheduler sleep. It takes the P from a
// goroutine that has been in a system call for some time, which the sentinel's
// thread always has when a death wakes it: then that thread has to find another
// P, wakes the monitor before it sends the activation, and in 1 to 4 of 60
// deaths was handed from thread to thread for 0.1 to 0.3 ms. What else the
// monitor does is for processes with more than one thing to do.
func stillMonitor() sentinel.Feature {
	f := sentinel.Feature{Name: "scheduler's monitor", InUse: "awake"}
	if _, err := gomonitor.Slack(monitorSlack); err != nil {
		f.Why = err.Error()
		if errors.Is(err, os.ErrPermission) {
			f.Why = fmt.Sprintf("%v; needs CAP_SYS_NICE", err)
		}
		return f
	}
	f.InUse, f.Best = "asleep", true
	return f
}
