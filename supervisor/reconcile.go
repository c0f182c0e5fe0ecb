package supervisor

import (
	"context"
	"time"

	"understudy/internal/event"
)

// reconcile compares, every interval, what is with what should be: events can
// be lost, and what they would have told must not be. In a healthy run it
// finds nothing; whatever it finds is counted.
func (s *Supervisor) reconcile(ctx context.Context) {
	for {
		// From the end of one pass to the next: what one pass asks for, or sees
		// coming, has a whole interval to come, even when the loop was held up.
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.cfg.ProcessManager.ResyncInterval):
		}
		done := make(chan struct{})
		if s.loop.Post(func() { s.reconcileOnce(); close(done) }) != nil {
			return
		}
		s.reconcileSegments()
		select {
		case <-done:
		case <-s.loop.Ended():
			return
		}
	}
}

func (s *Supervisor) reconcileOnce() {
	if s.stopping {
		return
	}
	for range s.manager.Reassert() {
		s.repaired("a worker's death was not reported")
	}
}

// repaired counts one difference between what was and what should have been.
func (s *Supervisor) repaired(what string) {
	s.repairs.Add(1)
	s.metrics.Repaired()
	s.events(event.Event{Time: time.Now(), Kind: event.Repaired, Message: what})
}
