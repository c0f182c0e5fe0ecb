package supervisor

import (
	"fmt"

	"understudy/shmregistry"
)

// openSegments opens the registry of segments, which makes it agree with what
// there is, before anything is launched.
func (s *Supervisor) openSegments() error {
	r, err := shmregistry.Open(shmregistry.Config{StateDir: s.cfg.StateDir, Limits: s.cfg.Segments, Log: s.log, OnRepair: s.segmentRepaired})
	if err != nil {
		return err
	}
	if t := r.Totals(); t.Repaired > 0 {
		s.log.Warn("segments were brought in agreement with their registry", "repaired", t.Repaired, "lost", t.Lost, "taken", t.Taken)
	}
	s.segments = r
	return nil
}

// segmentRepaired takes what the registry had to repair. It is called on a
// goroutine of the registry.
func (s *Supervisor) segmentRepaired(r shmregistry.Repair) {
	_ = s.loop.Post(func() {
		s.repaired(fmt.Sprintf("segment %s of %s: %s: %s", r.Entry.Segment, r.Entry.Binding, r.Action, r.Why))
	})
}

// reconcileSegments compares the registry with what there is. It asks the
// kernel about each segment, so it runs beside the loop.
func (s *Supervisor) reconcileSegments() {
	s.segments.Reconcile()
	s.leaks.reconcile()
}

// Segments returns the segments of one binding, or of all with "".
func (c core) Segments(processID string) []shmregistry.Entry {
	all := c.supervisor.segments.List()
	if processID == "" {
		return all
	}
	var out []shmregistry.Entry
	for _, e := range all {
		if e.Binding == processID {
			out = append(out, e)
		}
	}
	return out
}

// SweepSegments removes what has no living owner and no binding.
func (c core) SweepSegments(dryRun bool) ([]shmregistry.Entry, error) {
	return c.supervisor.segments.Sweep(dryRun)
}
