package isolation

import (
	"context"
	"fmt"

	"understudy/patterns"
	"understudy/pool"
)

// Limit is one bound: how much of it is used, 0 in Max where there is none, and
// how much was refused because of it.
type Limit struct {
	Name      string
	Used, Max int
	Refused   uint64
}

// WorkersThatFit names the limit that the file descriptors set: an estimate.
const WorkersThatFit = "workers that fit into them"

// Count is how many bindings there are, for the loop.
func (m *Manager) Count() int { return len(m.bindings) }

// limitKind says which limit is meant.
type limitKind int

const (
	limitBindings limitKind = iota
	limitBindingsPerNamespace
	limitWorkers
	limitWaitingLaunches
	limitDescriptors
	limitKinds
)

// Limits returns the limits as they are used now.
func (m *Manager) Limits() (out []Limit) {
	_ = m.call(context.Background(), func() error {
		most := 0
		for _, n := range m.perNamespace {
			most = max(most, n)
		}
		out = []Limit{
			{Name: "bindings", Used: len(m.bindings), Max: m.cfg.MaxBindings, Refused: m.refused[limitBindings]},
			{Name: "bindings of a namespace, the largest", Used: most, Max: m.cfg.MaxPerNamespace, Refused: m.refused[limitBindingsPerNamespace]},
			{Name: "workers", Used: m.keeper.Count(), Max: m.cfg.Pool.MaxWorkers, Refused: m.refused[limitWorkers]},
			{Name: "waiting launches", Used: m.launching, Max: m.cfg.MaxWaiting, Refused: m.refused[limitWaitingLaunches]},
		}
		if count := m.cfg.Pool.Descriptors; count != nil {
			used, most := count()
			n := m.keeper.Count()
			out = append(out, Limit{Name: "file descriptors", Used: used, Max: most, Refused: m.refused[limitDescriptors]},
				Limit{Name: WorkersThatFit, Used: n, Max: n + m.keeper.Fits(), Refused: m.refused[limitDescriptors]})
		}
		return nil
	})
	return out
}

func (m *Manager) refuse(kind limitKind, format string, args ...any) error {
	m.refused[kind]++
	return fmt.Errorf("%w: %s", ErrExhausted, fmt.Sprintf(format, args...))
}

// admit refuses a binding beyond the limits.
func (m *Manager) admit(manifest *patterns.Manifest, key Key) error {
	if most := m.cfg.MaxBindings; most > 0 && len(m.bindings) >= most {
		return m.refuse(limitBindings, "%d bindings", most)
	}
	if most := m.cfg.MaxPerNamespace; most > 0 && key.Namespace != "" && m.perNamespace[key.Namespace] >= most {
		return m.refuse(limitBindingsPerNamespace, "%d bindings of namespace %s", most, quote(key.Namespace))
	}
	standbys := m.keeper.Standbys(pool.PoolKey(manifest.Name))
	if most := m.cfg.Pool.MaxWorkers; most > 0 && m.keeper.Count() >= most && standbys == 0 {
		return m.refuse(limitWorkers, "%d workers", most)
	}
	needed := 1 + len(manifest.Segments) // the listening socket
	if standbys == 0 {
		needed += pool.WorkerDescriptors
	}
	if m.keeper.FreeDescriptors() < needed {
		used, most := m.cfg.Pool.Descriptors()
		return m.refuse(limitDescriptors, "%d of %d file descriptors are in use, and the others are kept for what runs already", used, most)
	}
	return nil
}
