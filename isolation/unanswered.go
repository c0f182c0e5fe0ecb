package isolation

import (
	"time"

	"understudy/pool"
	"understudy/takeover"
)

// answerMin and answerMax are how long the engine may take to say what became of
// a plan that must have fired, before it is asked again. It answers within
// milliseconds; only its word can be lost.
const (
	answerMin = 250 * time.Millisecond
	answerMax = 5 * time.Second
)

// expectAnswer asks the engine again if its word on a plan does not come.
func (m *Manager) expectAnswer(e *entry) {
	if e.answer == nil && m.unanswered(e) {
		m.askLater(e, answerMin)
	}
}

func (m *Manager) askLater(e *entry, pause time.Duration) {
	e.answer = m.loop.After(pause, func() {
		if m.bindings[e.ProcessID] != e || !m.unanswered(e) {
			e.answer = nil
			return
		}
		// Set meanwhile, so that what follows from it expects no second answer.
		m.arm(e, output{kind: outArm, worker: e.phase.worker, epoch: e.phase.next()}, true)
		m.askLater(e, min(2*pause, answerMax))
	})
}

// unanswered reports whether a binding believes in a plan that has no living
// guard: it has fired.
func (m *Manager) unanswered(e *entry) bool {
	if !stillWanted(e, e.phase.next()) {
		return false
	}
	w := m.keeper.Worker(e.phase.worker)
	return w == nil || w.Dead()
}

// epochRefused finds out why the engine did not take a plan: it has activated a
// worker at that epoch. If the word of that was lost, it says so again for each
// worker that is offered again. If that brings nothing, the worker is gone, and
// the epoch is burnt.
func (m *Manager) epochRefused(e *entry, ev takeover.Event) {
	m.trouble.refused.Add(1)
	if !stillWanted(e, ev.Epoch) {
		return // the word came meanwhile
	}
	m.cfg.Pool.Log.Warn("takeover engine refused an epoch", "process_id", e.ProcessID, "epoch", ev.Epoch)
	if e.refused == ev.Epoch {
		m.apply(e, input{kind: inRenew, epoch: ev.Epoch})
		return
	}
	e.refused = ev.Epoch
	for _, w := range m.keeper.Workers() {
		if w.Pool() == e.pool() && w.State() == pool.Standby {
			m.keeper.Repeat(w)
		}
	}
	// After what that brings, in the engine's order.
	m.arm(e, output{kind: outArm, worker: e.phase.worker, epoch: ev.Epoch}, false)
}
