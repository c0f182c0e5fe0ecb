package worker

import (
	"sync/atomic"
	"time"
)

// breather is how long the announcement of a worker that takes over waits: the
// first answers take one to two milliseconds, and whoever hears it would work
// meanwhile on the same processors.
const breather = 2 * time.Millisecond

// announcement is the message that the worker is active. It is sent beside the
// first Accept, not before it: connections are waiting.
type announcement struct {
	begun atomic.Bool
	sent  chan struct{}
}

// begin has it sent: at once for the first worker of a binding, for whose word
// somebody waits. It is called once.
func (a *announcement) begin(epoch uint64, send func()) {
	a.begun.Store(true)
	say := func() {
		send()
		close(a.sent)
	}
	if epoch == 1 {
		go say()
		return
	}
	time.AfterFunc(breather, say)
}

// settle waits until what has begun is sent, for later messages to be later.
func (a *announcement) settle() {
	if a.begun.Load() {
		<-a.sent
	}
}
