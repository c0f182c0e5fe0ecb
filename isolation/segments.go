package isolation

import (
	"errors"
	"fmt"

	"understudy/patterns"
	"understudy/pool"
	"understudy/shmregistry"
)

// Segments is what the manager needs of *shmregistry.Registry.
type Segments interface {
	Prepare(binding string, epoch uint64, specs []shmregistry.Spec) ([]shmregistry.Prepared, error)
	Activated(binding string, epoch uint64, o shmregistry.Owner)
	Died(binding string, epoch uint64)
	Remove(binding string)
	Usage(binding string) (segments int, bytes int64)
	LastEpoch(binding string) uint64
	HoldsWork(binding string) bool
}

// errNoSegments: a manifest asks for segments and there is no registry.
var errNoSegments = errors.New("this supervisor has no segment registry")

// prepareSegments returns what the worker of that epoch gets, as the
// activation tells it, and the descriptors, which stay the registry's.
func (m *Manager) prepareSegments(e *entry, epoch uint64) (told []pool.Segment, fds []int, err error) {
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
		told = append(told, pool.Segment{Name: p.Name, Size: uint64(p.Size), Path: p.Path})
		fds = append(fds, p.FD)
	}
	return told, fds, nil
}

// lastEpoch is the epoch that a binding to be made goes on from: its own last one, or that of a worker of an earlier
// supervisor that may still write to its segments.
func (m *Manager) lastEpoch(id string, manifest *patterns.Manifest) uint64 {
	epoch := max(m.ended.epoch[id], m.ended.floor)
	if len(manifest.Segments) > 0 && m.cfg.Segments != nil {
		epoch = max(epoch, m.cfg.Segments.LastEpoch(id))
	}
	return epoch
}

func (m *Manager) holdsWork(e *entry) bool {
	return len(e.manifest.Segments) > 0 && m.cfg.Segments != nil && m.cfg.Segments.HoldsWork(e.ProcessID)
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
	m.cfg.Pool.Log.Warn("next activation cannot be prepared", "process_id", e.ProcessID, "epoch", o.epoch, "error", err)
	m.apply(e, input{kind: inUnarmed})
}

// rearmLate gives an active worker the successor that it could not get: its
// activation could not be prepared, or its crash budget was spent.
func (m *Manager) rearmLate(e *entry) {
	if e.phase.worker != 0 && !e.phase.armed && !m.spent(e) {
		m.apply(e, input{kind: inArmable, worker: e.phase.worker, epoch: e.phase.next()})
	}
}
