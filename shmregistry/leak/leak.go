package leak

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"understudy/internal/procfs"
)

// Mode says what is done with objects that a worker left behind.
type Mode string

const (
	Never  Mode = "never"  // do not look
	Report Mode = "report" // tell, touch nothing
	Remove Mode = "remove" // remove what is proven to be the worker's and unused
)

// Validate returns an error that names an unknown mode.
func (m Mode) Validate() error {
	switch m {
	case Never, Report, Remove:
		return nil
	}
	return fmt.Errorf("adopt: %q is none of never, report, remove", string(m))
}

// Kind is the kind of an object.
type Kind string

const (
	SharedMemory Kind = "shm"
	Semaphore    Kind = "sem"
	MessageQueue Kind = "mqueue"
	SystemV      Kind = "sysv-shm"
)

// Action is what was done.
type Action string

const (
	Removed  Action = "removed"
	Reported Action = "reported"
	Kept     Action = "kept"
)

// OwnPrefix begins the names of the registry's own segments; they are never
// looked at here.
const OwnPrefix = "understudy."

// Finding is one object that a worker left behind. A kept object that others
// held may be found again as removed.
type Finding struct {
	PID    int    `json:"pid"`
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	Action Action `json:"action"`
	Why    string `json:"why"`
}

// Config of a [Finder]. The zero value works.
type Config struct {
	ShmDir    string        // default /dev/shm
	MqueueDir string        // default /dev/mqueue; need not be mounted if we may mount it privately
	Log       *slog.Logger  // default slog.Default
	OnFinding func(Finding) // called on the finder's goroutine; must return soon and must not call Close or Reconcile

	// StateFile keeps what is known of living workers for a restart. Empty: a
	// restart forgets who made what. It must be this finder's alone.
	StateFile string

	// Unprivileged takes inotify even where fanotify would work.
	Unprivileged bool
}

// Counters say what the finder saw and did. They only grow, except Watched and
// Pending.
type Counters struct {
	Watched    int    // workers watched now, and those that an earlier finder watched
	Pending    int    // objects of ended workers that others still hold
	Attributed uint64 // objects found to be a worker's
	Removed    uint64
	Reported   uint64
	Kept       uint64
	Unproven   uint64 // of these kept, how many for want of proof who made them
	Overflows  uint64 // event queues that overflowed
	Dropped    uint64 // objects not kept in mind for want of room
	Errors     uint64 // system calls that failed unexpectedly
}

// Finder watches workers for shared memory they make themselves. All its state
// belongs to one goroutine; methods hand it requests. Watch and Ended do not
// wait for it.
type Finder struct {
	cfg  Config
	done chan struct{}

	mu       sync.Mutex // guards what follows; never held across a system call
	requests []request
	closing  bool
	counters Counters
	usage    map[int]account // by pid

	files sync.RWMutex // read-held while descriptors are used outside the loop
	shut  bool         // guarded by files: they are closed

	loop *loop
}

type verb int

const (
	watch verb = iota
	ended
	reconcile
)

type request struct {
	verb  verb
	pid   int
	mode  Mode
	start uint64   // clock ticks since boot; watch only
	reply chan int // reconcile only
}

// New starts a finder. It fails if the directory of shared memory cannot be
// watched at all; a missing message queue file system is only reported by
// [Finder.Sources].
func New(cfg Config) (*Finder, error) {
	if cfg.ShmDir == "" {
		cfg.ShmDir = "/dev/shm"
	}
	if cfg.MqueueDir == "" {
		cfg.MqueueDir = "/dev/mqueue"
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.OnFinding == nil {
		cfg.OnFinding = func(Finding) {}
	}
	f := &Finder{cfg: cfg, done: make(chan struct{}), usage: map[int]account{}}
	l, err := newLoop(f)
	if err != nil {
		return nil, err
	}
	f.loop = l
	go l.run()
	return f, nil
}

// Watch tells that a worker runs with this pid. What it makes from now on is
// known to be its own; what it made since it started is, if the finder ran. It
// reads one file of /proc at once, because the worker may be gone soon; so call
// it before the worker is reaped.
func (f *Finder) Watch(pid int, mode Mode) {
	if mode != Report && mode != Remove {
		return
	}
	from, err := procfs.ReadStat(pid)
	if err != nil {
		from.Start = 0 // gone: nothing it made before can be told from another's
	}
	f.ask(request{verb: watch, pid: pid, mode: mode, start: from.Start})
}

// Ended tells that the worker was reaped. What it left is decided upon soon,
// and told through OnFinding. A pid that is not watched is ignored.
func (f *Finder) Ended(pid int) { f.ask(request{verb: ended, pid: pid}) }

// Reconcile looks again at what others held when its worker ended, and at what
// nobody could be found to have made. It returns how many objects could be
// removed now. It waits for the finder's goroutine.
func (f *Finder) Reconcile() (removed int) {
	reply := make(chan int, 1)
	f.ask(request{verb: reconcile, reply: reply})
	select {
	case n := <-reply:
		return n
	case <-f.done:
		return 0
	}
}

// Counters returns the counters as they are.
func (f *Finder) Counters() Counters {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counters
}

// Idle reports whether the finder has nothing to do: it watches no worker, and
// nothing that an ended one left is held by others.
func (f *Finder) Idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests) == 0 && f.counters.Watched == 0 && f.counters.Pending == 0
}

// Sources says by which means objects are found and proven, one line each, with
// the reason where it is not the best one.
func (f *Finder) Sources() []string { return append([]string(nil), f.loop.notes...) }

// Proves reports whether the finder can prove who made an object of shared
// memory and that nobody holds it, so that [Remove] removes.
func (f *Finder) Proves() bool {
	return f.loop.unsafe == "" && f.loop.dirs[0].watch.names()
}

// Close stops the finder and waits for its goroutine. Objects that are still
// held by others stay.
func (f *Finder) Close() {
	f.mu.Lock()
	first := !f.closing
	f.closing = true
	f.mu.Unlock()
	if first {
		f.loop.ring()
	}
	<-f.done
	if first {
		f.files.Lock()
		defer f.files.Unlock()
		f.shut = true
		f.loop.close()
	}
}

func (f *Finder) ask(r request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		if r.reply != nil {
			r.reply <- 0
		}
		return
	}
	f.requests = append(f.requests, r)
	f.loop.ring() // an eventfd write; it cannot block before 2^64-1 rings
}

func (f *Finder) count(change func(*Counters)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.counters)
}

// kindOf tells semaphores by the name glibc and musl give them.
func kindOf(d *directory, name string) Kind {
	switch {
	case d.kind == MessageQueue:
		return MessageQueue
	case strings.HasPrefix(name, "sem."):
		return Semaphore
	}
	return SharedMemory
}
