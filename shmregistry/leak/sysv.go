package leak

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/procfs"
)

// segmentV is one System V segment.
type segmentV struct {
	id, creator int
	size        int64 // bytes
	attached    int
	changed     int64 // seconds of the wall clock: creation, or the last IPC_SET
}

func (s segmentV) name() string { return "shmid:" + strconv.Itoa(s.id) }

// systemV reads /proc/sysvipc/shm (proc(5)). A kernel without System V has no
// such file: then there are none.
func systemV() ([]segmentV, error) {
	b, err := os.ReadFile("/proc/sysvipc/shm")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list System V segments: %w", err)
	}
	return parseSystemV(string(b))
}

// parseSystemV finds the columns by the names in the first line.
func parseSystemV(text string) ([]segmentV, error) {
	head, body, _ := strings.Cut(text, "\n")
	column := map[string]int{}
	for i, name := range strings.Fields(head) {
		column[name] = i
	}
	for _, name := range []string{"shmid", "size", "cpid", "nattch", "ctime"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("/proc/sysvipc/shm: no column %s", name)
		}
	}
	var out []segmentV
	for line := range strings.Lines(body) {
		f := strings.Fields(line)
		if len(f) < len(column) {
			return nil, fmt.Errorf("/proc/sysvipc/shm: %d columns of %d", len(f), len(column))
		}
		number := func(name string) int64 {
			n, perr := strconv.ParseInt(f[column[name]], 10, 64)
			if perr != nil {
				n = -1 // no pid, no id: never taken for a worker's
			}
			return n
		}
		out = append(out, segmentV{
			id: int(number("shmid")), creator: int(number("cpid")), size: number("size"),
			attached: int(number("nattch")), changed: number("ctime"),
		})
	}
	return out, nil
}

// madeBy returns whether the segment is the worker's: its creator has the
// worker's pid, and it is not from an earlier process that had this pid.
func (s segmentV) madeBy(w *worker, started time.Time) bool {
	if s.creator != w.pid {
		return false
	}
	// The time has whole seconds, and so has the bound.
	return !w.before[s.id] || !started.IsZero() && s.changed > started.Unix()+1
}

// removeSystemV removes a segment that is unattached and still the same.
func removeSystemV(s segmentV) error {
	var st unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(s.id, unix.IPC_STAT, &st); err != nil {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EIDRM) {
			return errGone
		}
		return fmt.Errorf("look at System V segment %d: %w", s.id, err)
	}
	switch {
	case int(st.Cpid) != s.creator:
		return errChanged
	case st.Nattch > 0:
		return errHeld
	}
	if _, err := unix.SysvShmCtl(s.id, unix.IPC_RMID, nil); err != nil {
		return fmt.Errorf("remove System V segment %d: %w", s.id, err)
	}
	return nil
}

// pendingSegment is a System V segment of an ended worker with somebody
// attached.
type pendingSegment struct {
	segment segmentV
	pid     int
	tries   int       // how often somebody was attached, in a row
	due     time.Time // when to try again without being asked; zero: not
	told    bool      // that it was kept
}

// endedV decides on the worker's System V segments.
func (l *loop) endedV(w *worker) {
	segments, err := systemV()
	if err != nil {
		l.failed("decide on what a worker left", err)
		return
	}
	started := w.started()
	for _, s := range segments {
		if !s.madeBy(w, started) {
			continue
		}
		l.f.count(func(c *Counters) { c.Attributed++ })
		if w.mode == Report {
			l.report(Finding{w.pid, SystemV, s.name(), s.size, Reported, "adopt: report"})
			continue
		}
		if _, err := procfs.ReadStat(w.pid); err == nil {
			l.report(Finding{w.pid, SystemV, s.name(), s.size, Kept, "its pid belongs to another process already"})
			continue
		}
		l.attemptV(pendingSegment{segment: s, pid: w.pid})
	}
}

// attemptV removes a segment of an ended worker if nobody is attached. A heir of
// the worker's memory is attached a little longer, hence the tries.
func (l *loop) attemptV(p pendingSegment) (removed bool) {
	f := Finding{PID: p.pid, Kind: SystemV, Name: p.segment.name(), Size: p.segment.size}
	err := removeSystemV(p.segment)
	switch {
	case err == nil:
		f.Action, f.Why = Removed, "its worker is gone and nobody is attached"
		l.report(f)
	case errors.Is(err, errHeld):
		if _, known := l.pendingV[p.segment.id]; !known && len(l.pendingV) >= maxObjects {
			l.f.count(func(c *Counters) { c.Dropped++ })
			return false
		}
		p.due = time.Time{}
		if p.tries < maxTries {
			p.due = time.Now().Add(patience(p.tries))
			p.tries++
		} else if !p.told {
			p.told = true
			f.Action, f.Why = Kept, errHeld.Error()
			l.report(f)
		}
		l.pendingV[p.segment.id] = p
		return false
	case errors.Is(err, errGone), errors.Is(err, errChanged):
	default:
		f.Action, f.Why = Kept, err.Error()
		l.report(f)
	}
	delete(l.pendingV, p.segment.id)
	return err == nil
}
