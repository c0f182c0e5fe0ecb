// Package looptest runs an event loop for a test.
package looptest

import (
	"testing"
	"time"

	"understudy/internal/loop"
)

// patience is how long a test waits for its loop.
const patience = 60 * time.Second

// Loop is a loop that a test runs.
type Loop struct {
	*loop.Loop
	t testing.TB
}

// New returns a loop that takes functions, and runs them from Start on.
func New(t testing.TB) *Loop { return &Loop{Loop: loop.New(), t: t} }

// Start runs the loop. At the end of the test, stop runs on it, and it ends as
// soon as idle reports true.
func (l *Loop) Start(stop func(), idle func() bool) {
	stopping := false
	go l.Run(func() bool { return stopping && idle() })
	l.t.Cleanup(func() {
		_ = l.Post(func() { stopping = true; stop() })
		select {
		case <-l.Ended():
		case <-time.After(patience):
			l.t.Error("what the loop holds does not end")
		}
	})
}

// Do runs f while the loop waits for it, so that f may touch what is the
// loop's. f may end the test, as require does: the loop outlives it.
func (l *Loop) Do(f func()) {
	l.t.Helper()
	returned := false
	done := make(chan struct{})
	err := l.Post(func() {
		inner := make(chan struct{})
		go func() { // Goexit ends this one, not the loop
			defer close(inner)
			f()
			returned = true
		}()
		<-inner
		close(done)
	})
	if err != nil {
		l.t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(patience):
		l.t.Fatal("the loop is held up")
	}
	if !returned {
		l.t.FailNow()
	}
}
