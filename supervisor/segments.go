package supervisor

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"understudy/internal/event"
	"understudy/pool"
	"understudy/sentinel"
	"understudy/shmregistry"
	"understudy/shmregistry/leak"
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
	_ = s.loop.post(func() {
		s.repaired(fmt.Sprintf("segment %s of %s: %s: %s", r.Entry.Segment, r.Entry.Binding, r.Action, r.Why))
	})
}

// openLeaks starts the search for shared memory that workers make themselves.
// Where the kernel does not let us look, workers run all the same.
func (s *Supervisor) openLeaks() *leak.Finder {
	f, err := leak.New(leak.Config{Log: s.log, StateFile: filepath.Join(s.cfg.StateDir, "leaks.json"), OnFinding: s.found})
	if err != nil {
		s.log.Warn("shared memory that workers make themselves is not looked for", "error", err)
		return nil
	}
	return f
}

// leakWatch is the finder as the pool wants it: nil where there is none.
func (s *Supervisor) leakWatch() pool.Leaks {
	if s.leaks == nil {
		return nil
	}
	return s.leaks
}

// leakFeature says how shared memory that workers make themselves is found.
func (s *Supervisor) leakFeature() sentinel.Feature {
	f := sentinel.Feature{Name: "shared-memory leaks", InUse: "nothing is looked for",
		Why: "the directory of shared memory cannot be watched; the log says why"}
	if s.leaks != nil {
		f.Best, f.Why = s.leaks.Proves(), ""
		f.InUse = strings.Join(s.leaks.Sources(), "; ")
		if !f.Best {
			f.Why = "proof takes CAP_SYS_ADMIN (fanotify) and CAP_LEASE or the objects' own user"
		}
	}
	return f
}

// found takes what a worker left behind. It is called on the finder's goroutine.
func (s *Supervisor) found(f leak.Finding) {
	_ = s.loop.post(func() {
		s.events(event.Event{Time: time.Now(), Kind: event.SharedMemory, Pid: f.PID,
			Message: fmt.Sprintf("%s %s of a worker that ended is %s: %s", f.Kind, f.Name, f.Action, f.Why),
			Facts: map[string]string{"kind": string(f.Kind), "name": f.Name, "action": string(f.Action),
				"size": strconv.FormatInt(f.Size, 10)}})
	})
}

// reconcileSegments compares the registry with what there is. It asks the
// kernel about each segment, so it runs beside the loop.
func (s *Supervisor) reconcileSegments() {
	s.segments.Reconcile()
	if s.leaks != nil {
		s.leaks.Reconcile()
	}
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
