package supervisor

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"understudy/internal/event"
	"understudy/sentinel"
	"understudy/shmregistry/leak"
)

// leaks looks for shared memory that workers make themselves, as long as there
// are workers whose pattern asks for it: every close in the shared-memory
// directory wakes the finder, no matter which process closes the file.
type leaks struct {
	cfg leak.Config

	mu      sync.Mutex
	finder  *leak.Finder // nil where nobody asks, or where it cannot look
	failed  error        // why it cannot
	workers map[int]bool // that it watches, by pid
	coming  int          // are expected, and not watched yet
}

func (s *Supervisor) openLeaks() {
	s.leaks = &leaks{
		cfg:     leak.Config{Log: s.log, StateFile: filepath.Join(s.cfg.StateDir, "leaks.json"), OnFinding: s.found},
		workers: map[int]bool{},
	}
	if leak.Remembers(s.leaks.cfg.StateFile) { // of workers that ended without us
		s.leaks.start()
	}
}

// start starts the finder where there is none. Where the kernel does not let us
// look, workers run all the same.
func (l *leaks) start() {
	if l.finder != nil || l.failed != nil {
		return
	}
	if l.finder, l.failed = leak.New(l.cfg); l.failed != nil {
		l.cfg.Log.Warn("shared memory that workers make themselves is not looked for", "error", l.failed)
	}
}

// Expect says that a worker is about to start: what it makes first must be seen.
func (l *leaks) Expect(mode leak.Mode) {
	if mode == leak.Never {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.coming++
	l.start()
}

// Watch says that the expected worker runs with this pid, or with pid 0 that it
// could not be started.
func (l *leaks) Watch(pid int, mode leak.Mode) {
	if mode == leak.Never {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.coming--
	if pid == 0 {
		return
	}
	l.workers[pid] = true
	if l.finder != nil {
		l.finder.Watch(pid, mode)
	}
}

// Ended says that a worker was reaped.
func (l *leaks) Ended(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.workers[pid] && l.finder != nil {
		l.finder.Ended(pid)
	}
	delete(l.workers, pid)
}

// Usage returns how many objects the worker has made that are still there, and
// their size in bytes.
func (l *leaks) Usage(pid int) (objects int, bytes int64) {
	if f := l.current(); f != nil {
		return f.Usage(pid)
	}
	return 0, 0
}

func (l *leaks) current() *leak.Finder {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.finder
}

// reconcile looks again at what others held, and ends the finder where it has
// nothing to watch and nothing to wait for.
func (l *leaks) reconcile() {
	if f := l.current(); f != nil {
		f.Reconcile()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.workers) > 0 || l.coming > 0 {
		return
	}
	l.failed = nil // the next one that asks tries again
	if l.finder != nil && l.finder.Idle() {
		l.finder.Close() // which has nothing to find any more, and so waits for nobody
		l.finder = nil
	}
}

func (l *leaks) close() {
	if f := l.current(); f != nil {
		f.Close()
	}
}

// feature says how shared memory that workers make themselves is found.
func (l *leaks) feature() sentinel.Feature {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := sentinel.Feature{Name: "shared-memory leaks", InUse: "nothing is looked for: no pattern has adopt: report, or remove", Best: true}
	switch {
	case l.finder != nil:
		f.Best, f.InUse = l.finder.Proves(), strings.Join(l.finder.Sources(), "; ")
		if !f.Best {
			f.Why = "proof takes CAP_SYS_ADMIN (fanotify) and CAP_LEASE or the objects' own user"
		}
	case l.failed != nil:
		f.Best, f.InUse, f.Why = false, "nothing is looked for", l.failed.Error()
	}
	return f
}

// found takes what a worker left behind. It is called on the finder's goroutine.
func (s *Supervisor) found(f leak.Finding) {
	_ = s.loop.Post(func() {
		s.events(event.Event{Time: time.Now(), Kind: event.SharedMemory, Pid: f.PID,
			Message: fmt.Sprintf("%s %s of a worker that ended is %s: %s", f.Kind, f.Name, f.Action, f.Why),
			Facts: map[string]string{"kind": string(f.Kind), "name": f.Name, "action": string(f.Action),
				"size": strconv.FormatInt(f.Size, 10)}})
	})
}
