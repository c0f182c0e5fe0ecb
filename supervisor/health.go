package supervisor

import (
	"errors"
	"fmt"
	"time"

	"understudy/internal/loop"
	"understudy/isolation"
	"understudy/pool"
)

// loopTimeout is how long the loop may take to answer before the supervisor is
// not healthy: no function of ours runs that long on the loop.
const loopTimeout = 2 * time.Second

// healthy says whether the loop runs. A loop that stands still has not ended,
// but launches nothing and starts no spare.
func (s *Supervisor) healthy() error { return s.ask(loopTimeout, func() {}) }

// spared says whether every pool has the spares that it should have.
func (s *Supervisor) spared() error {
	pools := make(chan []pool.Stats, 1)
	if err := s.ask(loopTimeout, func() { pools <- s.manager.Keeper().Stats() }); err != nil {
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
	if err := s.ask(timeout, func() {
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

// ask runs f on the loop and waits until it has run, for so long. After an error
// f does not begin any more. Errors: isolation.ErrClosed, loop.ErrLate.
func (s *Supervisor) ask(timeout time.Duration, f func()) error {
	err := s.loop.Ask(timeout, f)
	if errors.Is(err, loop.ErrEnded) {
		return isolation.ErrClosed
	}
	return err
}
