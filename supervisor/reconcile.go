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
	ticker := time.NewTicker(s.cfg.ProcessManager.ResyncInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = s.loop.post(s.reconcileOnce)
		}
	}
}

func (s *Supervisor) reconcileOnce() {
	if s.stopping {
		return
	}
	if s.pings > s.pongs {
		// It had a whole interval to answer: it hangs. Its end is noticed by
		// keepEngine, which starts another.
		s.log.Error("takeover engine does not answer; ending it", "pid", s.engine.Pid())
		s.repaired("the engine hung")
		s.engine.Kill()
		s.pings = s.pongs
		return
	}
	for range s.manager.Reassert() {
		s.repaired("a worker's death was not reported")
	}
	if s.engine.Ping() == nil {
		s.pings++
	}
}

// repaired counts one difference between what was and what should have been.
func (s *Supervisor) repaired(what string) {
	s.repairs.Add(1)
	s.metrics.Repaired()
	s.events(event.Event{Time: time.Now(), Kind: event.Repaired, Message: what})
}
