package supervisor

import "errors"

// errLoopEnded is what post returns when nobody will run the function.
var errLoopEnded = errors.New("event loop has ended")

// loopQueue is how many functions may wait; beyond it posters wait, never the
// loop itself, which does not post.
const loopQueue = 1024

// loop runs functions one after the other: all state of the pool and of the
// bindings is touched by it alone, so nothing is locked.
type loop struct {
	queue chan func()
	ended chan struct{}
}

func newLoop() *loop {
	return &loop{queue: make(chan func(), loopQueue), ended: make(chan struct{})}
}

// post hands f to the loop, waiting for room.
func (l *loop) post(f func()) error {
	select {
	case <-l.ended:
		return errLoopEnded
	default:
	}
	select {
	case l.queue <- f:
		return nil
	case <-l.ended:
		return errLoopEnded
	}
}

// run runs what is posted, until finished reports true after one of them.
func (l *loop) run(finished func() bool) {
	defer close(l.ended)
	for f := range l.queue {
		f()
		if finished() {
			return
		}
	}
}
