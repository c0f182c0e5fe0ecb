package isolation

import (
	"errors"
	"fmt"

	"understudy/pool"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/shmregistry"
)

// Segments is what the manager needs of *shmregistry.Registry.
type Segments interface {
	Prepare(binding string, epoch uint64, specs []shmregistry.Spec) ([]shmregistry.Prepared, error)
	Activated(binding string, epoch uint64, o shmregistry.Owner)
	Died(binding string, epoch uint64)
	Remove(binding string)
	Usage(binding string) (segments int, bytes int64)
}

// errNoSegments: a manifest asks for segments and there is no registry.
var errNoSegments = errors.New("this supervisor has no segment registry")

// prepareSegments returns what the worker of that epoch gets, as the
// activation tells it, and the descriptors, which stay the registry's.
func (m *Manager) prepareSegments(e *entry, epoch uint64) (told []*understudyv1.Segment, fds []int, err error) {
	if len(e.manifest.Segments) == 0 {
		return nil, nil, nil
	}
	if m.cfg.Segments == nil {
		return nil, nil, fmt.Errorf("%s: %w", e.ProcessID, errNoSegments)
	}
	prepared, err := m.cfg.Segments.Prepare(e.ProcessID, epoch, e.manifest.Segments)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range prepared {
		told = append(told, &understudyv1.Segment{Name: p.Name, Size: uint64(p.Size)})
		fds = append(fds, p.FD)
	}
	return told, fds, nil
}

// segmentsTaken notes which process has a binding's segments now.
func (m *Manager) segmentsTaken(e *entry, w *pool.Worker, epoch uint64) {
	if len(e.manifest.Segments) == 0 || w == nil || e.phase.worker != w.ID || m.bindings[e.ProcessID] != e {
		return // it has none, or lost them already
	}
	// Dead and reaped already: then its end is told next, and nobody owns them.
	if owner, err := shmregistry.OwnerOf(w.Pid); err == nil {
		m.cfg.Segments.Activated(e.ProcessID, epoch, owner)
	}
}

// segmentsLeft notes that a worker that had segments is gone.
func (m *Manager) segmentsLeft(w *pool.Worker) {
	if w.Epoch > 0 && m.cfg.Segments != nil {
		m.cfg.Segments.Died(w.ProcessID, w.Epoch)
	}
}

// segmentsEnded gives everything back that a binding had.
func (m *Manager) segmentsEnded(e *entry) {
	if len(e.manifest.Segments) > 0 && m.cfg.Segments != nil {
		m.cfg.Segments.Remove(e.ProcessID)
	}
}

// unarmed deals with an activation that could not be prepared: a launch fails;
// an active worker serves on, without a successor until a later pass has more
// luck.
func (m *Manager) unarmed(e *entry, o output, err error) {
	e.failure = err
	e.unarmed = &o
	m.cfg.Pool.Log.Warn("next activation cannot be prepared", "process_id", e.ProcessID, "epoch", o.epoch, "error", err)
	m.apply(e, input{kind: inUnarmed})
}

// rearmLate tries once more what unarmed could not.
func (m *Manager) rearmLate(e *entry) {
	o := e.unarmed
	e.unarmed = nil
	if o != nil && o.worker == e.phase.worker {
		m.apply(e, input{kind: inArmable, worker: o.worker, epoch: o.epoch})
	}
}
