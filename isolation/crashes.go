package isolation

import (
	"fmt"
	"strconv"
	"time"

	"understudy/internal/event"
	"understudy/patterns"
	"understudy/takeover"
)

// died counts a death of the active worker of which the engine tells.
func (m *Manager) died(e *entry, ev takeover.Event) {
	e.Errors++
	e.LastError = "worker died: " + causeOf(ev)
	e.death = ev.At
	if e.death == 0 {
		e.death = ev.Seen
	}
	m.judge(e, ev.Dead)
}

// judge counts the death of an active worker, once.
func (m *Manager) judge(e *entry, w takeover.WorkerID) {
	if w != e.phase.worker || w == e.judged {
		return
	}
	if e.manifest.CrashBudget.Max > 0 {
		e.deaths = append(e.deaths, time.Now())
	}
	m.lived(e, w)
}

// lived says once of each active worker whether its life was short, if it has
// died or wants to stop: both take a standby.
func (m *Manager) lived(e *entry, w takeover.WorkerID) {
	if w != e.phase.worker || w == e.judged {
		return
	}
	e.judged = w
	m.apply(e, input{kind: inLived, short: !e.phase.serving || time.Since(e.Activated) < m.longLife(e)})
}

// longLife is how long a worker must live to be worth a standby at once.
func (m *Manager) longLife(e *entry) time.Duration {
	return max(minLife, m.keeper.StartTime(e.pool()))
}

// prove looks again when a worker's life is long.
func (m *Manager) prove(e *entry, w takeover.WorkerID) {
	m.loop.After(m.longLife(e), func() {
		if m.bindings[e.ProcessID] == e {
			m.apply(e, input{kind: inProved, worker: w, spent: m.tooMany(e)}) // of those in a row it is the end
		}
	})
}

// spent reports whether the binding may not fail over once more for now: too
// many deaths in too short a time, or one after the other.
func (m *Manager) spent(e *entry) bool {
	most := e.manifest.CrashBudget.Max
	return m.tooMany(e) || most > 0 && e.phase.short.all >= most
}

// tooMany reports whether a binding's latest deaths spend its crash budget. It
// forgets those that are too old to count.
func (m *Manager) tooMany(e *entry) bool {
	budget := e.manifest.CrashBudget
	now := time.Now()
	for len(e.deaths) > 0 && now.Sub(e.deaths[0]) > budget.Window {
		e.deaths = e.deaths[1:]
	}
	return budget.Max > 0 && len(e.deaths) >= budget.Max
}

// dead tells a binding of its worker's death, whoever saw it first: the engine
// or the reaper. Only a binding without a plan decides anything by it: its crash
// budget is spent, or was when the plan would have been made, or it is in a
// crash loop.
func (m *Manager) dead(e *entry, kind inputKind, w takeover.WorkerID) {
	in := input{kind: kind, worker: w}
	if w == e.phase.worker && !e.phase.armed && e.phase.state != Draining && e.phase.state != Failed {
		in.spent = m.spent(e)
		m.judge(e, w)
		budget := e.manifest.CrashBudget
		switch {
		case in.spent:
			e.until = time.Now().Add(max(budget.Window, m.pause(e)))
			e.failure = fmt.Errorf("%s: %w: %d crashes within %v", e.ProcessID, ErrQuarantined, len(e.deaths), budget.Window)
			if len(e.deaths) <= budget.Max {
				e.failure = fmt.Errorf("%s: %w: %d crashes in a row", e.ProcessID, ErrQuarantined, e.phase.short.all)
			}
		case e.phase.short.looping():
			e.until = time.Now().Add(m.pause(e))
			e.failure = fmt.Errorf("%s: %w: %d workers in a row died before they served", e.ProcessID, ErrCrashLoop, e.phase.short.unserved)
		default: // its guard is dead, so the plan fires at once
			m.apply(e, input{kind: inArmable, worker: w, epoch: e.phase.next()})
		}
	}
	m.apply(e, in)
	m.expectAnswer(e)
}

// reserve is how many standbys a binding's plans leave to the others of its
// pool, if there are any.
func (m *Manager) reserve(e *entry) int {
	if e.phase.short.reserves() && m.perPool[e.pool()] > 1 && e.manifest.Spares.Min > 0 {
		return 1
	}
	return 0
}

// pause is how long a binding waits that is in a crash loop, 0 for one that is
// not.
func (m *Manager) pause(e *entry) time.Duration {
	if !e.phase.short.looping() {
		return 0
	}
	return e.phase.short.pause(m.longLife(e))
}

// looping tells that a binding waits because its workers die too soon.
func (m *Manager) looping(e *entry) {
	e.Errors++
	e.LastError = e.failure.Error()
	wait := time.Until(e.until).Round(time.Millisecond)
	m.emit(e, event.CrashLoop, fmt.Sprintf("%v; the next try is in %v", e.failure, wait),
		map[string]string{"lives": strconv.Itoa(e.phase.short.unserved), "pause": wait.String()})
	if e.manifest.OnFailure == patterns.OnFailureRefuse {
		m.apply(e, input{kind: inRefuse})
	}
}

// quarantined returns an error for a binding that crashes too often.
func (m *Manager) quarantined(e *entry) error {
	wait := time.Until(e.until)
	switch {
	case wait <= 0:
		return nil
	case e.failure == nil:
		return fmt.Errorf("%s: %w; again in %v", e.ProcessID, ErrQuarantined, wait.Round(time.Millisecond))
	}
	return fmt.Errorf("%w; again in %v", e.failure, wait.Round(time.Millisecond))
}

// retryPause is how long a binding that has lost its worker waits where its plan
// could not be made.
const retryPause = time.Second

// hold tries a binding again when its time has come.
func (m *Manager) hold(e *entry) {
	wait := time.Until(e.until)
	if wait <= 0 {
		wait = retryPause
	}
	m.loop.After(wait, func() {
		if m.bindings[e.ProcessID] != e || !e.phase.held {
			return
		}
		if time.Now().Before(e.until) {
			m.hold(e)
			return
		}
		if e.phase.state == Failed {
			e.deaths = nil
		}
		m.apply(e, input{kind: inRetry})
	})
}
