package sentinel

import (
	"errors"
	"fmt"
	"strings"
)

// Source is where a notice came from: the rungs of the ladder, the best first.
type Source uint8

// The death sources. SourceAuto takes the best that works. Whichever it is, the
// pidfds run beside it: only they give Exited.
const (
	SourceAuto Source = iota
	// SourceKernel: kernel events, before the teardown begins. It needs
	// CAP_BPF and CAP_PERFMON.
	SourceKernel
	// SourceConnector: the kernel's process connector, which tells of a core
	// dump before it is written. It needs no privilege.
	SourceConnector
	// SourcePidfd: poll on a pidfd, after the teardown (pidfd_open(2)).
	SourcePidfd
)

var sourceNames = [...]string{"auto", "kernel", "connector", "pidfd"}

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
	return 0, fmt.Errorf("sentinel: unknown death source %q; there are auto, kernel, connector and pidfd", name)
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

// earlySource tells of deaths before the pidfd does. watch and unwatch may be
// called from any goroutine, the rest from one at a time.
type earlySource interface {
	watch(pid int, token uint64) error
	unwatch(pid int)
	fd() int            // readable when there is something to drain
	drain(func(record)) // without blocking and without allocating
	lost() uint64
	close()
}

// record is what an early source tells. It names the process by the token that
// watch was given, or where the source does not keep it, by pid.
type record struct {
	token  uint64
	pid    int
	at     int64
	kind   Kind
	signal int
	dumper int  // Notice.Dumper
	early  bool // the process still had its memory
}

// rung is one early source: how to get it, and what it must prove.
type rung struct {
	source Source
	open   func() (earlySource, error)
	trials []trial
	hint   string // what a failed trial may mean
}

func (o Options) rungs() []rung {
	hooks, size := exitHooks, ringSize
	if o.hooks != nil {
		hooks = o.hooks
	}
	if o.ringSize != 0 {
		size = o.ringSize
	}
	return []rung{
		{SourceKernel, func() (earlySource, error) {
			// A nil *kernelEvents must not become a non-nil earlySource.
			if k, err := openKernelEvents(size, hooks); err == nil {
				return k, nil
			} else {
				return nil, err
			}
		}, kernelTrials, ""},
		{SourceConnector, func() (earlySource, error) {
			if c, err := openConnector(); err == nil {
				return c, nil
			} else {
				return nil, err
			}
		}, connectorTrials, " (one kind of event alone is told since Linux 6.6)"},
	}
}

// climb opens the best source that works, or the one asked for.
func climb(opts Options) (earlySource, Source, Feature, error) {
	f := Feature{Name: "death source"}
	var why []string
	for _, r := range opts.rungs() {
		if opts.Source != SourceAuto && opts.Source != r.source {
			why = append(why, fmt.Sprintf("%s: not asked for", r.source))
			continue
		}
		early, err := r.open()
		if err == nil {
			if err = try(early, r.trials); err == nil {
				f.InUse, f.Best, f.Why = r.source.String(), len(why) == 0, strings.Join(why, "; ")
				return early, r.source, f, nil
			}
			early.close()
			err = fmt.Errorf("%w%s", err, r.hint)
		}
		if opts.Source == r.source {
			return nil, 0, f, fmt.Errorf("sentinel: death source %s: %w", r.source, err)
		}
		why = append(why, fmt.Sprintf("%s: %v", r.source, firstLine(err)))
	}
	f.InUse, f.Why = SourcePidfd.String(), strings.Join(why, "; ")
	return nil, SourcePidfd, f, nil
}

// firstLine shortens an error that carries the kernel verifier's log.
func firstLine(err error) error {
	line, _, more := strings.Cut(err.Error(), "\n")
	if !more {
		return err
	}
	return errors.New(line)
}
