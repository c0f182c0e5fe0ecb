package supervisor

import (
	"fmt"
	"sync/atomic"
	"time"

	"understudy/isolation"
	"understudy/pool"
)

// loopTimeout is how long the loop may take to answer before the supervisor is
// not healthy: nothing of ours runs on it for so long.
const loopTimeout = 2 * time.Second

// healthy says whether the loop runs. A loop that stands still has not ended,
// but launches nothing and starts no spare.
func (s *Supervisor) healthy() error { return s.loop.ask(loopTimeout, func() {}) }

// spared says whether every pool has the spares that it should have.
func (s *Supervisor) spared() error {
	pools := make(chan []pool.Stats, 1)
	if err := s.loop.ask(loopTimeout, func() { pools <- s.manager.Keeper().Stats() }); err != nil {
		return err
	}
	for _, p := range <-pools {
		if p.Standby < p.Min {
			return fmt.Errorf("pattern %s has %d of %d spares", p.Pattern, p.Standby, p.Min)
		}
	}
	return nil
}

// Summary says in one line what the supervisor has, once it is ready. The error
// says that its loop did not answer within the timeout.
func (s *Supervisor) Summary(timeout time.Duration) (string, error) {
	line := make(chan string, 1)
	if err := s.loop.ask(timeout, func() {
		standbys := 0
		for _, p := range s.manager.Keeper().Stats() {
			standbys += p.Standby
		}
		line <- fmt.Sprintf("%d bindings, %d workers, %d of them standing by", s.manager.Count(), s.manager.Keeper().Count(), standbys)
	}); err != nil {
		return "", err
	}
	return <-line, nil
}

// ask runs f on the loop and waits until it has run. After an error f does not
// begin any more. Errors: isolation.ErrClosed, and one that says that the time
// was over.
func (l *loop) ask(timeout time.Duration, f func()) error {
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
			return isolation.ErrClosed
		case <-late.C:
			return fmt.Errorf("the event loop does not answer within %v", timeout)
		}
	}
}
