package isolation

import (
	"understudy/internal/event"
	"understudy/pool"
	"understudy/takeover"
)

// workerDraining hears that an active worker wants to stop, or was told to by
// somebody else. Its successor is activated first; then it drains. Without a
// plan, or a standby, it stops by itself after a moment.
func (m *Manager) workerDraining(w *pool.Worker, reason string) {
	e := m.bindings[w.ProcessID]
	if e == nil || e.phase.worker != w.ID || !e.phase.armed || e.phase.state == Draining {
		return
	}
	if e.arming { // the plan was to come a moment later
		m.arm(e, output{kind: outArm, worker: w.ID, epoch: e.phase.next()}, false)
	}
	m.emit(e, event.Handover, "worker "+w.Name+" wants to stop: "+reason, nil)
	m.command(e, m.engine.Handover(w.ID))
}

// handedOver drains the worker whose successor is active.
func (m *Manager) handedOver(e *entry, ev takeover.Event) {
	if old := m.keeper.Worker(ev.Dead); ev.Handover && old != nil {
		m.keeper.End(old, e.manifest.GracePeriod, false)
	}
}
