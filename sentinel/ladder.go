package sentinel

import "fmt"

// Source is where a notice came from: the rungs of the ladder, the best first.
type Source uint8

// The death sources. SourceAuto takes the best that works.
const (
	SourceAuto Source = iota
	// SourceKernel: kernel events, before the teardown begins.
	SourceKernel
	// SourcePidfd: poll on a pidfd, after the teardown (pidfd_open(2)).
	SourcePidfd
)

var sourceNames = [...]string{"auto", "kernel", "pidfd"}

// String returns the source's name, as configuration spells it.
func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return fmt.Sprintf("source(%d)", uint8(s))
}

// ParseSource reads a source's name; "" is SourceAuto.
func ParseSource(name string) (Source, error) {
	if name == "" {
		return SourceAuto, nil
	}
	for i, n := range sourceNames {
		if n == name {
			return Source(i), nil
		}
	}
	return 0, fmt.Errorf("sentinel: unknown death source %q; there are auto, kernel and pidfd", name)
}

// Options says how a sentinel works.
type Options struct {
	// Source forces a rung; where it does not work, New fails.
	Source Source
	// Realtime asks for SCHED_FIFO for the thread.
	Realtime bool
	// LockMemory asks for the process's pages to be kept in memory.
	LockMemory bool
}

// Feature says which form of a kernel feature is in use, and why not the
// better one.
type Feature struct {
	Name string
	// InUse is the form, Best whether it is the best there is.
	InUse string
	Best  bool
	// Why the better form is not in use, and what would give it.
	Why string
}

// earlySource tells of deaths before the pidfd does.
type earlySource interface {
	watch(pid int) error
	unwatch(pid int)
	close()
}

// Status says how the sentinel works; it is complete once Run has begun.
func (s *Sentinel) Status() []Feature { return append([]Feature(nil), s.ladder...) }

// climb chooses the rung.
func (s *Sentinel) climb() error {
	s.ladder = append(s.ladder, Feature{Name: "death source", InUse: SourcePidfd.String()})
	return nil
}

// raise gives the thread its priority.
func (s *Sentinel) raise() {}
