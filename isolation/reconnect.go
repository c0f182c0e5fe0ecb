package isolation

import "understudy/pool"

// Reconnect tells a new engine everything. What the old one did at its very
// end may not have reached us, so bindings are armed only when every standby of
// their pattern has said what it serves.
func (m *Manager) Reconnect(engine Engine) {
	m.engine = engine
	clear(m.unsure)
	for _, w := range m.keeper.Reconnect(engine) {
		m.unsure[w.ID] = w.Pattern()
	}
	unsure := map[string]bool{}
	for _, pattern := range m.unsure {
		unsure[pattern] = true
	}
	for _, e := range m.bindings {
		m.apply(e, input{kind: inEngineLost, unsure: unsure[e.Pattern], lost: m.lost(e)})
	}
}

// lost reports whether a binding's worker is none any more, though nobody said.
func (m *Manager) lost(e *entry) bool {
	w := m.keeper.Worker(e.phase.worker)
	return w == nil || w.State() != pool.Active && e.phase.state != Draining
}

// settle strikes a worker off those we are unsure of. With the last one of a
// pattern its bindings are settled.
func (m *Manager) settle(w *pool.Worker) {
	pattern, ok := m.unsure[w.ID]
	if !ok {
		return
	}
	delete(m.unsure, w.ID)
	for _, other := range m.unsure {
		if other == pattern {
			return
		}
	}
	for _, e := range m.bindings {
		if e.Pattern == pattern {
			m.apply(e, input{kind: inSettled, lost: m.lost(e)})
		}
	}
}
