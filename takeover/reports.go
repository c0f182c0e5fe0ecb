package takeover

import (
	"errors"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
)

// maxBacklog bounds the events that wait for room in the supervisor's socket.
// Beyond it they are dropped and counted; the reconcile pass heals.
const maxBacklog = 16384

// reports are the events on their way to the supervisor.
type reports struct {
	socket  int
	posted  []Event
	backlog [][]byte // encoded, for want of room
	dropped uint64
	out     []byte
}

func newReports(socket int) reports {
	return reports{socket: socket, posted: make([]Event, 0, 64), out: make([]byte, 0, eventHeader)}
}

// post keeps an event for flush, which comes when the hot work is done.
func (e *engine) post(ev Event) { e.reports.posted = append(e.reports.posted, ev) }

// flush sends the events that were posted, unless reports are delayed.
func (e *engine) flush() {
	if !e.delay.on {
		e.reports.send()
	}
}

// send sends what was posted, oldest first. What finds no room waits, within
// bounds, for the next flush; the supervisor pings.
func (r *reports) send() {
	for len(r.backlog) > 0 && r.write(r.backlog[0]) {
		r.backlog = r.backlog[1:]
	}
	for i := range r.posted {
		if fault.Enabled && fault.At(fault.Lost(r.posted[i].Kind.String())) != 0 {
			continue
		}
		r.posted[i].Dropped = r.dropped
		r.out = r.posted[i].append(r.out[:0])
		if len(r.backlog) == 0 && r.write(r.out) {
			continue
		}
		if len(r.backlog) >= maxBacklog {
			r.dropped++
			continue
		}
		r.backlog = append(r.backlog, append([]byte(nil), r.out...))
	}
	r.posted = r.posted[:0]
}

// write reports whether an event is done with: sent, or to nobody.
func (r *reports) write(b []byte) bool {
	err := fault.Error(fault.EngineTell)
	if err == nil {
		err = unix.Send(r.socket, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS)
}
