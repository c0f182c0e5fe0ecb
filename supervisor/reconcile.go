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
		if s.loop.post(func() { s.reconcileOnce(); close(done) }) != nil {
			return
		}
		s.reconcileSegments()
		select {
		case <-done:
		case <-s.loop.ended:
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

// heartbeat is how often the engine has to answer: without it nothing fails
// over.
const heartbeat = 3 * time.Second

// watchEngine ends an engine that hangs, to the very end: bindings end only
// with its word.
func (s *Supervisor) watchEngine(ctx context.Context) {
	beat := time.NewTicker(min(heartbeat, s.cfg.ProcessManager.ResyncInterval))
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		done := make(chan struct{})
		if s.loop.post(func() { s.pingEngine(); close(done) }) != nil {
			return
		}
		select {
		case <-done: // a loop that is held up has no queue of these
		case <-s.loop.ended:
			return
		}
	}
}

func (s *Supervisor) pingEngine() {
	if s.pings > s.pongs {
		// It had a whole beat to answer. Its end is noticed by keepEngine, which
		// starts another.
		s.log.Error("takeover engine does not answer; ending it", "pid", s.engine.Pid())
		s.repaired("the engine hung")
		s.engine.Kill()
		s.pings = s.pongs
		return
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
