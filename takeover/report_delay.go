package takeover

import (
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/internal/pace"
)

// maxMuted bounds how many exits are kept back at once; more are told.
const maxMuted = 256

// reportDelay is the time after a failover in which nothing is reported
// (pace.Breather). A report wakes the supervisor, and through it the proxies,
// all on the processors where the standby and its first clients have about a
// millisecond of work; the dead worker's heir cuts its connections without
// them. The delay begins with the first failover, is made no longer by those
// that follow, and ends early when there is something for which the supervisor
// has to act.
type reportDelay struct {
	timer  int
	length time.Duration
	on     bool
	muted  [maxMuted]int // processes whose exits wait, too
	n      int
}

// delayReports begins the delay after the failover of a worker with this pid,
// whose exit waits for its end.
func (e *engine) delayReports(pid int) {
	if !e.pace.On(pace.ReportDelay) || e.delay.n == maxMuted {
		return
	}
	if !e.delay.on {
		end := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(e.delay.length))}
		if fault.At(fault.EngineTimer) != 0 || unix.TimerfdSettime(e.delay.timer, 0, &end, nil) != nil {
			return
		}
		e.delay.on = true
	}
	if e.pace.On(pace.ExitMute) && e.sentinel.Mute(pid) {
		e.delay.muted[e.delay.n] = pid
		e.delay.n++
	}
}

// endDelay ends the delay; the next flush reports everything.
func (e *engine) endDelay() {
	e.delay.on = false
	for _, pid := range e.delay.muted[:e.delay.n] {
		e.sentinel.Unmute(pid)
	}
	e.delay.n = 0
}

func (e *engine) onDelayEnds() {
	if expired(e.delay.timer) {
		e.endDelay()
		e.flush()
	}
}
