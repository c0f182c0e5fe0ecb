// Package loop is the event loop of the supervisor: functions that run one
// after the other, so that the state they share is not locked.
package loop

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

var (
	// ErrEnded: the loop has ended, and runs nothing any more.
	ErrEnded = errors.New("event loop has ended")
	// ErrLate: it did not answer in time.
	ErrLate = errors.New("the event loop does not answer")
)

// queued is how many functions may wait. Beyond it those who post wait, never
// the loop itself, which does not post.
const queued = 1024

// Loop runs what is posted to it.
type Loop struct {
	queue chan func()
	ended chan struct{}
}

// New returns a loop that Run has yet to run.
func New() *Loop {
	return &Loop{queue: make(chan func(), queued), ended: make(chan struct{})}
}

// Post hands f to the loop, and waits for room. It must not be called on the
// loop. Error: ErrEnded.
func (l *Loop) Post(f func()) error {
	select {
	case <-l.ended:
		return ErrEnded
	default:
	}
	select {
	case l.queue <- f:
		return nil
	case <-l.ended:
		return ErrEnded
	}
}

// Ask runs f on the loop and waits until it has run, for so long. After an error
// f does not begin any more. Errors: ErrEnded, ErrLate.
func (l *Loop) Ask(timeout time.Duration, f func()) error {
	late := time.NewTimer(timeout)
	defer late.Stop()
	var gone atomic.Bool
	defer gone.Store(true)
	done := make(chan struct{})
	queue := l.queue
	for {
		select {
		case queue <- func() {
			if !gone.Load() {
				f()
			}
			close(done)
		}:
			queue = nil
		case <-done:
			return nil
		case <-l.ended:
			return ErrEnded
		case <-late.C:
			return fmt.Errorf("%w within %v", ErrLate, timeout)
		}
	}
}

// Run runs what is posted, until finished reports true after one of them.
func (l *Loop) Run(finished func() bool) {
	defer close(l.ended)
	for f := range l.queue {
		f()
		if finished() {
			return
		}
	}
}

// Ended is closed when the loop has ended.
func (l *Loop) Ended() <-chan struct{} { return l.ended }

// Timer is a function that the loop is to run later.
type Timer struct {
	timer *time.Timer
	over  bool // of the loop
}

// After has the loop run f when d has passed. It may be called on the loop, or
// before Run.
func (l *Loop) After(d time.Duration, f func()) *Timer {
	t := &Timer{}
	run := func() {
		if !t.over {
			t.over = true
			f()
		}
	}
	t.timer = time.AfterFunc(d, func() { _ = l.Post(run) })
	return t
}

// Stop drops the function: it does not run, even if its time had come and it
// was waiting for its turn. It is for the loop alone, and does nothing to a nil
// timer or to one that is over.
func (t *Timer) Stop() {
	if t != nil {
		t.over = true
		t.timer.Stop()
	}
}

// Pending reports whether the function has yet to run. It is for the loop alone.
func (t *Timer) Pending() bool { return t != nil && !t.over }
