package worker

import "sync/atomic"

// announcement is the message that the worker is active. It is sent beside the
// first Accept, not before it: connections are waiting.
type announcement struct {
	begun atomic.Bool
	sent  chan struct{}
}

// begin starts to send. It is called once.
func (a *announcement) begin(send func()) {
	a.begun.Store(true)
	go func() {
		send()
		close(a.sent)
	}()
}

// settle waits until what has begun is sent, for later messages to be later.
func (a *announcement) settle() {
	if a.begun.Load() {
		<-a.sent
	}
}
