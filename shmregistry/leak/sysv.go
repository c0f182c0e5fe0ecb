package leak

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
