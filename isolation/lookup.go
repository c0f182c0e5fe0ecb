package isolation

import (
	"context"
	"slices"
	"strings"

	"understudy/pool"
)

// Lookup returns a binding by its process id.
func (m *Manager) Lookup(processID string) (b Binding, ok bool) {
	_ = m.call(context.Background(), func() error {
		if e := m.bindings[processID]; e != nil {
			b, ok = m.snapshot(e), true
		}
		return nil
	})
	m.addOwnObjects(&b)
	return b, ok
}

// addOwnObjects adds what a worker made by itself. It asks the kernel, so it
// is not for the loop.
func (m *Manager) addOwnObjects(b *Binding) {
	if leaks := m.cfg.Pool.Leaks; leaks != nil && b.Pid > 0 {
		b.OwnObjects, b.OwnBytes = leaks.Usage(b.Pid)
	}
}

// List returns every binding, by process id.
func (m *Manager) List() []Binding {
	var out []Binding
	_ = m.call(context.Background(), func() error {
		for _, e := range m.bindings {
			out = append(out, m.snapshot(e))
		}
		return nil
	})
	for i := range out {
		m.addOwnObjects(&out[i])
	}
	slices.SortFunc(out, func(a, b Binding) int { return strings.Compare(a.ProcessID, b.ProcessID) })
	return out
}

// Pools returns a snapshot of every pattern's pool.
func (m *Manager) Pools() (out []pool.Stats) {
	_ = m.call(context.Background(), func() error {
		out = m.keeper.Stats()
		return nil
	})
	return out
}

func (m *Manager) snapshot(e *entry) Binding {
	b := e.Binding
	b.State, b.Epoch = e.phase.state, e.phase.epoch
	b.Config = make(map[string]string, len(e.Config))
	for k, v := range e.Config {
		b.Config[k] = v
	}
	b.Backlog, b.BacklogCut = e.endpoint.backlog, e.endpoint.cut
	b.Worker, b.Pid = "", 0
	if w := m.keeper.Worker(e.phase.worker); w != nil {
		b.Worker, b.Pid = w.Name, w.Pid
		b.Healthy = b.State == Active && e.phase.serving && w.Healthy() && !e.unreachable
	}
	b.Standby = e.phase.worker != 0 && e.phase.armed && !e.phase.unsettled && m.idle(e)
	if m.cfg.Segments != nil {
		b.Segments, b.SegmentBytes = m.cfg.Segments.Usage(e.ProcessID)
	}
	return b
}
