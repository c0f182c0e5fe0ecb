package isolation

import (
	"fmt"
	"sync/atomic"
	"time"

	"understudy/internal/event"
	"understudy/internal/monotime"
	"understudy/internal/procfs"
	"understudy/pool"
	"understudy/takeover"
)

const (
	// hedgeFactor is how much longer than the slowest of its pattern's latest
	// activations one may take before the worker counts as stuck.
	hedgeFactor = 4
	// hedgeMin is the least time, and hedgeUnknown the least while the pattern
	// has fewer than enoughActivations behind it.
	hedgeMin          = 20 * time.Millisecond
	hedgeUnknown      = 200 * time.Millisecond
	enoughActivations = 8
	// hedgeRounds is how often a worker whose threads run, or wait for a processor,
	// gets the same time once more. Everyone gets it once: only two looks show that
	// nothing runs.
	hedgeRounds = 8
)

// activationTimes are the latest times from an activation to the word that the
// worker accepts, of one pattern.
type activationTimes struct {
	ring [32]time.Duration
	n    int
}

func (a *activationTimes) add(d time.Duration) {
	a.ring[a.n%len(a.ring)] = d
	a.n++
}

// stuckAfter is when a worker that has not said that it accepts counts as stuck.
func (a *activationTimes) stuckAfter(startTimeout time.Duration) time.Duration {
	slowest := hedgeMin / hedgeFactor
	if a == nil || a.n < enoughActivations {
		slowest = hedgeUnknown / hedgeFactor
	}
	if a != nil {
		for _, d := range a.ring {
			slowest = max(slowest, d)
		}
	}
	return min(hedgeFactor*slowest, startTimeout)
}

// hedge gives up an activated worker that is stuck, once in a failover and only
// where another standby is idle: the plan that it guards fires by its end.
func hedge(p phase, in input) (phase, []output) {
	if in.worker == 0 || in.worker != p.worker || p.serving || p.hedged || !p.armed || p.unsettled || !in.idle ||
		p.state == Draining || p.state == Failed {
		return p, nil
	}
	p.hedged = true
	return p, []output{{kind: outStuck, worker: p.worker}}
}

// hedges counts them, written on the loop.
type hedges struct {
	times map[string]*activationTimes // by pattern
	done  atomic.Uint64
}

// served notes how long an activation took.
func (m *Manager) served(e *entry) {
	if e.sent == 0 {
		return
	}
	t := m.hedges.times[e.Pattern]
	if t == nil {
		t = &activationTimes{}
		m.hedges.times[e.Pattern] = t
	}
	t.add(time.Duration(monotime.Now() - e.sent))
	e.sent = 0
}

// hedgeLater looks at an activated worker when it should have said that it
// accepts.
func (m *Manager) hedgeLater(e *entry, w takeover.WorkerID) {
	wait := m.hedges.times[e.Pattern].stuckAfter(e.manifest.StartTimeout)
	m.lookAt(e, w, wait, 0, 0)
}

func (m *Manager) lookAt(e *entry, w takeover.WorkerID, wait time.Duration, round int, ran uint64) {
	due := time.Now().Add(wait)
	m.loop.After(wait, func() {
		if m.bindings[e.ProcessID] != e || e.phase.worker != w || e.phase.serving || e.phase.hedged {
			return
		}
		held := time.Since(due) > wait/2 // we were, and so may the worker's word be
		now, runnable := m.activity(w)
		switch {
		case round == 0, round < hedgeRounds && (held || runnable || now != ran):
			m.lookAt(e, w, wait, round+1, now)
		case !m.idle(e) || !e.phase.armed || e.phase.unsettled:
			m.lookAt(e, w, 2*wait, round, now)
		default:
			m.apply(e, input{kind: inHedge, worker: w, idle: true})
		}
	})
}

// idle reports whether a standby is there that a binding's plan would take.
func (m *Manager) idle(e *entry) bool {
	return m.keeper.Standbys(e.pool()) > m.reserve(e)
}

// activity is what a worker's threads do, and for how long they have run.
func (m *Manager) activity(id takeover.WorkerID) (ran uint64, runnable bool) {
	if w := m.keeper.Worker(id); w != nil {
		return procfs.Activity(w.Pid)
	}
	return 0, false
}

// stuck ends a worker that was activated and is stuck. Its successor follows.
func (m *Manager) stuck(e *entry, id takeover.WorkerID) {
	w := m.keeper.Worker(id)
	if w == nil {
		return
	}
	m.hedges.done.Add(1)
	took := time.Since(e.Activated).Round(time.Millisecond)
	err := fmt.Errorf("does not serve %s after %v, though others do", e.ProcessID, took)
	m.emitFor(e, w, e.phase.epoch, event.Hedged, w.Name+" "+err.Error()+"; the next standby takes its place", map[string]string{"after": took.String()})
	m.keeper.Fail(w, pool.Cause{Kind: pool.CauseNotServing, Err: err})
}
