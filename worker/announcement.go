package worker

import (
	"sync/atomic"
	"time"

	"understudy/internal/pace"
)

// announcement is the message that the worker is active. It is sent beside the
// first Accept, not before it: connections are waiting.
type announcement struct {
	// delay is how long it is held back. A worker that takes over leaves its
	// first answers the processors that the supervisor would use.
	delay time.Duration
	begun atomic.Bool
	sent  chan struct{}
}

// announcementDelay is none for the first worker of a binding: a launch waits
// for its message.
func announcementDelay(takeover bool, s pace.Switches) time.Duration {
	if !takeover || !s.On(pace.ReportDelay) {
		return 0
	}
	return pace.Breather
}

// begin sends it, after the delay. It is called once.
func (a *announcement) begin(send func()) {
	a.begun.Store(true)
	say := func() {
		send()
		close(a.sent)
	}
	if a.delay == 0 {
		go say()
		return
	}
	time.AfterFunc(a.delay, say)
}

// settle waits until an announcement that has begun is sent, so that later
// messages come after it.
func (a *announcement) settle() {
	if a.begun.Load() {
		<-a.sent
	}
}
