package shmregistry

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/dirlock"
)

// DefaultShmDir is where POSIX shared memory lives: shm_overview(7).
const DefaultShmDir = "/dev/shm"

var (
	// ErrLimit says that a segment would pass one of the [Limits].
	ErrLimit = errors.New("over the limit of shared memory")
	// ErrClosed says that the registry was closed.
	ErrClosed = errors.New("segment registry closed")
)

// Limits bound the data in segments, in bytes. Zero means the default.
type Limits struct {
	Segment int64 // of one; 1 GiB
	Binding int64 // of one binding, with what is made ahead for its next worker; 4 GiB
	Total   int64 // of all; half of the machine's memory
}

func (l Limits) withDefaults() (Limits, error) {
	if l.Segment < 0 || l.Binding < 0 || l.Total < 0 {
		return l, fmt.Errorf("limits of shared memory are negative: %+v", l)
	}
	if l.Segment == 0 {
		l.Segment = 1 << 30
	}
	if l.Binding == 0 {
		l.Binding = 4 << 30
	}
	if l.Total == 0 {
		var si unix.Sysinfo_t
		if err := unix.Sysinfo(&si); err != nil {
			return l, fmt.Errorf("asking for the size of the memory: %w", err)
		}
		l.Total = int64(uint64(si.Totalram) * uint64(si.Unit) / 2)
	}
	return l, nil
}

// Config says where a registry works.
type Config struct {
	StateDir string // made where it is missing; one registry at a time has it
	ShmDir   string // [DefaultShmDir] where empty
	Limits   Limits
	Log      *slog.Logger // none where nil
	// OnRepair is called for each repair, on a goroutine of the registry. It may
	// call the registry, but not Close.
	OnRepair func(Repair)
}

// Registry is described in the package comment. Its methods may be called from
// any goroutine.
type Registry struct {
	cfg      Config
	log      *slog.Logger
	instance instance
	links    links
	lock     *os.File

	mu       sync.Mutex
	closed   bool
	bindings map[string]*binding // by name
	bytes    int64
	named    int        // how many records are
	watch    *nameWatch // of their names; nil without any
	totals   Totals
	garbage  []int    // descriptors to close, which may free their memory: not the caller's to wait for
	changes  uint64   // counts changes of what the file should say
	repairs  []Repair // not told yet

	saving sync.Mutex // held while the file is written
	saved  uint64     // the number of changes that the file has; under saving

	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

// Open takes the state directory, reads the registry's file, and makes registry
// and reality agree: segments whose names are gone are forgotten, those of dead
// workers removed or kept for the next one, memfds fetched from the living
// workers that have them, and named ones that the file does not know taken in.
//
// It fails with [dirlock.ErrLocked] where another supervisor has the directory,
// and with [ErrVersion] where a newer one wrote the file. A damaged file is
// kept aside as segments.json.bad-TIME, and counted. A file that cannot be
// written now is counted and written later.
func Open(cfg Config) (*Registry, error) {
	if cfg.StateDir == "" {
		return nil, errors.New("segment registry without a state directory")
	}
	if cfg.ShmDir == "" {
		cfg.ShmDir = DefaultShmDir
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if cfg.Limits, err = cfg.Limits.withDefaults(); err != nil {
		return nil, err
	}
	lock, err := dirlock.Take(cfg.StateDir, lockFile)
	if err != nil {
		return nil, err
	}
	r := &Registry{
		cfg: cfg, log: cfg.Log, lock: lock, bindings: map[string]*binding{}, changes: 1,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	entries, err := r.load()
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	r.links = newLinks(r.instance, cfg.ShmDir)
	r.restore(entries)
	go r.keepSaved()
	if err := r.Sync(); err != nil {
		r.log.Warn("the segment registry cannot be written; it will be tried again", "error", err)
	}
	return r, nil
}

// newInstance makes an identity.
func newInstance() (i instance) {
	_, _ = rand.Read(i[:]) // never fails: crypto/rand
	return i
}

// Sync returns once the file says what the registry knows now, or cannot be
// made to.
func (r *Registry) Sync() error { return r.save() }

// Close writes the file, closes the registry's descriptors, and gives the
// directory back. Segments stay: workers outlive their supervisor.
func (r *Registry) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	close(r.stop)
	<-r.done
	err := r.save()

	r.mu.Lock()
	watch := r.watch
	r.watch = nil
	r.mu.Unlock()
	watch.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.bindings {
		for _, rec := range b.records {
			r.garbage = append(r.garbage, rec.fd)
			rec.fd = -1
		}
	}
	closeAll(r.garbage)
	r.garbage = nil
	return errors.Join(err, r.lock.Close())
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// changed notes that the file is behind. The caller has the lock.
func (r *Registry) changed() {
	r.changes++
	r.wakeSaver()
}

func (r *Registry) wakeSaver() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// bindingFor returns what there is of a binding, and makes it where there is
// nothing. The caller has the lock.
func (r *Registry) bindingFor(name string) *binding {
	if r.bindings[name] == nil {
		r.bindings[name] = &binding{name: name}
	}
	return r.bindings[name]
}

// take puts a record into the registry's books. The caller has the lock.
func (r *Registry) take(b *binding, rec *record) {
	b.add(rec)
	r.bytes += rec.Size
	if rec.named {
		r.named++
		r.watchNames(rec)
	}
	r.changed()
}

// set notes a change of an entry. The caller has the lock.
func (r *Registry) set(rec *record, s State, epoch uint64, o Owner) {
	if rec.State == s && rec.Epoch == epoch && rec.Owner == o {
		return
	}
	rec.State, rec.Epoch, rec.Owner, rec.dead = s, epoch, o, false
	rec.Changed = time.Now().UTC()
	r.changed()
}
