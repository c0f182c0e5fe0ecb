package worker

import (
	"sync/atomic"
	"time"

	"understudy/internal/pace"
)

// deferredActive sends the message that the worker is active: beside the first
// Accept, not before it, because connections are waiting.
type deferredActive struct {
	// delay is how long it is held back. A worker that takes over leaves its
	// first answers the processors that the supervisor would use.
	delay time.Duration
	begun atomic.Bool
	sent  chan struct{}
}

// activeDelay is none for the first worker of a binding: a launch waits
// for its message.
func activeDelay(takeover bool, s pace.Switches) time.Duration {
	if !takeover || !s.On(pace.ReportDelay) {
		return 0
	}
	return pace.Breather
}

// begin sends it, after the delay. It is called once.
func (a *deferredActive) begin(send func()) {
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

// settle waits for the message if it has begun, so that later ones come after
// it.
func (a *deferredActive) settle() {
	if a.begun.Load() {
		<-a.sent
	}
}
