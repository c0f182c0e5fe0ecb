package takeover

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/internal/monotime"
	"understudy/internal/pace"
	"understudy/sentinel"
)

// onNotice is where a failover begins.
func (e *engine) onNotice(w WorkerID, n sentinel.Notice) {
	h := e.workers[w]
	if h == nil {
		return
	}
	e.doom(w, h, cause{source: uint8(n.Source), signal: int32(n.Signal), dumper: int32(n.Dumper), at: n.At, seen: n.Seen})
	e.post(Event{Kind: Notice, Worker: w, NoticeKind: uint8(n.Kind), Source: uint8(n.Source),
		Signal: int32(n.Signal), Dumper: int32(n.Dumper), At: n.At, Seen: n.Seen})
	e.flush()
}

// doom ends what w forked, which would serve on beside its successor; activates
// whatever waits for the death of w; then has the heir cut the dead worker's
// connections, and takes its priority away, so that freeing its memory does not
// delay whoever must answer now.
func (e *engine) doom(w WorkerID, h *handles, c cause) {
	if !e.state.doom(w, c) {
		return
	}
	e.forks.kill(h, c.dumper != 0)
	activated, waiting := e.run()
	h.wakeHeir()
	if c.dumper != 0 {
		e.sentinel.HoldDump(h.pid) // soon: the dump is about to begin
		if e.pace.On(pace.Demote) {
			sentinel.DemoteDumper(int(c.dumper))
		}
	}
	if e.pace.On(pace.Demote) {
		sentinel.Demote(h.pid)
	}
	switch {
	case waiting, activated && h.doom < 0: // the supervisor has a worker to start, or connections to have cut
		e.endDelay()
	case activated:
		e.delayReports(h.pid)
	}
}

// wakeHeir tells a doomed worker's heir. The worker holds the other end of the
// socket pair and can fill it or shut it down; neither can hold us up.
func (h *handles) wakeHeir() {
	if h.doom < 0 {
		return
	}
	if fault.At(fault.EngineDoom) != 0 {
		return
	}
	one := uint64(1)
	_, _, _ = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(h.doom), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
}

// run carries out effects until none is left, and reports whether a worker was
// activated, and whether a plan waits for one.
func (e *engine) run() (activated, waiting bool) {
	for {
		effects := e.state.take()
		if len(effects) == 0 {
			break
		}
		for i := range effects {
			switch f := &effects[i]; f.kind {
			case effectReport:
				waiting = waiting || f.event.Kind == Waiting
				e.post(f.event)
			case effectActivate:
				activated = e.activate(f.worker, f.plan) || activated
			}
		}
	}
	e.retries.set(e.state)
	return activated, waiting
}

// activate carries out a plan with a standby. What goes wrong is either the
// standby's fault, and costs that one, or nobody's: then it is tried again.
func (e *engine) activate(w WorkerID, p *plan) bool {
	h := e.workers[w]
	if h == nil {
		e.state.lost(w, p)
		return false
	}
	switch errno := p.carryOut(h); errno {
	case 0:
		e.state.activated(w, p, monotime.Now())
		p.close()
		return true
	case unix.EPIPE, unix.ECONNRESET: // it closed its end
		e.state.lost(w, p)
	case unix.EAGAIN: // it does not read; its probe will say so
		e.state.postpone(w, p, uint32(errno), true)
	default: // memory, descriptors in flight (unix(7), ETOOMANYREFS)
		e.state.postpone(w, p, uint32(errno), false)
	}
	return false
}

const (
	// quickRetry is between the first tries of an activation that could not be
	// sent, slowRetry between those that follow.
	quickRetry = time.Millisecond
	slowRetry  = 50 * time.Millisecond
)

// retryTimer wakes the thread for plans that were postponed.
type retryTimer struct {
	timer int
	on    bool
}

// set starts the timer if a plan is postponed and none runs.
func (t *retryTimer) set(s *state) {
	if t.on || len(s.postponed) == 0 {
		return
	}
	pause := slowRetry
	if s.hurry() {
		pause = quickRetry
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(pause))}
	t.on = unix.TimerfdSettime(t.timer, 0, &at, nil) == nil
}

func (e *engine) onRetry() {
	if !expired(e.retries.timer) {
		return
	}
	e.retries.on = false
	e.state.retry()
	if activated, waiting := e.run(); activated || waiting {
		e.endDelay()
	}
	e.flush()
}
