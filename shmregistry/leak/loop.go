package leak

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds. What does not fit is not looked after, and counted.
const (
	maxObjects = 16384 // of workers, those of ended ones included
	maxRecent  = 1024  // of others, in mind in case their maker turns out to be a worker
	maxListed  = 4096  // names of a directory, when a worker is adopted
	maxReads   = 256   // of one event queue in a row, 64 KiB each
)

// loop owns all state. It sleeps in poll(2) until an event, a request, or the
// time to try a lease again.
type loop struct {
	f     *Finder
	self  int
	wake  int // eventfd
	dirs  []*directory
	notes []string // what Sources returns

	born   uint64 // when it began to listen, ns of CLOCK_BOOTTIME
	since  int64  // the same by the clock of birth times
	unsafe string // why leases prove nothing here; empty: they do

	workers  map[int]*worker
	objects  map[key]*object
	byID     map[identity]*object
	recent   []*object // nobody's, oldest first
	owned    int
	pending  map[*object]bool      // others hold them, their worker has ended
	due      map[*object]time.Time // those of them to be tried again without an event
	pendingV map[int]pendingSegment
	fresh    []*object // made in this round of events
	nameless []*object // lost their name in this round
	dirty    map[*worker]bool
	former   []*worker // known from an earlier run, not yet watched in this one
	boot     string    // id of the boot
	unfound  []*object // made lately, and nobody had them when we looked (inotify)
	searches int       // how often we looked
	searchAt time.Time // when to look again; zero: not
	saveAt   time.Time // when the state file is due; zero: it is as it should be
}

type key struct {
	dir  *directory
	name string
}

func newLoop(f *Finder) (*loop, error) {
	l := &loop{
		f: f, self: os.Getpid(), wake: -1,
		workers: map[int]*worker{}, objects: map[key]*object{}, byID: map[identity]*object{},
		pending: map[*object]bool{}, due: map[*object]time.Time{}, pendingV: map[int]pendingSegment{},
		dirty: map[*worker]bool{}, born: bootTime(), since: fileTime(),
	}
	shm, err := openDirectory(SharedMemory, f.cfg.ShmDir)
	if err != nil {
		return nil, fmt.Errorf("watch shared memory: %w", err)
	}
	if err := l.add(shm); err != nil {
		l.close()
		return nil, fmt.Errorf("watch shared memory: %w", err)
	}
	if err := probeLease(shm); err != nil {
		l.unsafe = "no proof that nobody else holds it: " + err.Error()
		l.notes = append(l.notes, shm.path+": nothing is removed: "+l.unsafe)
	}
	mq, err := openMqueues(f.cfg.MqueueDir)
	if err == nil {
		err = l.add(mq)
	}
	if err != nil {
		l.notes = append(l.notes, "message queues are not watched: "+err.Error())
	}
	if _, err := systemV(); err != nil {
		l.notes = append(l.notes, "System V segments are not watched: "+err.Error())
	}
	if l.boot, err = bootID(); err != nil && f.cfg.StateFile != "" {
		l.close()
		return nil, fmt.Errorf("read the boot id: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		l.close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return l, nil
}

// add watches a directory, or closes it.
func (l *loop) add(d *directory) error {
	s, why, err := openSource(d, l.f.cfg.Unprivileged)
	if err != nil {
		d.close()
		return err
	}
	d.watch = s
	l.dirs = append(l.dirs, d)
	if s.names() {
		l.notes = append(l.notes, d.path+": fanotify names the maker")
	} else {
		l.notes = append(l.notes, d.path+": inotify and a search of /proc, objects are reported and kept: "+why)
	}
	return nil
}

func (l *loop) close() {
	for _, d := range l.dirs {
		d.close()
	}
	if l.wake >= 0 {
		unix.Close(l.wake)
	}
}

// ring wakes the loop.
func (l *loop) ring() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(l.wake, one[:]) // full means that it is ringing
}

func (l *loop) run() {
	defer close(l.f.done)
	if l.f.cfg.StateFile != "" {
		l.remember()
		l.decideFormer()
		l.publish()
	}
	defer l.save(time.Time{}, true)
	fds := []unix.PollFd{{Fd: int32(l.wake), Events: unix.POLLIN}}
	for _, d := range l.dirs {
		fds = append(fds, unix.PollFd{Fd: int32(d.watch.descriptor()), Events: unix.POLLIN})
	}
	var buffer [8]byte
	for {
		for i, d := range l.dirs {
			if d.broken {
				fds[i+1].Fd = -1 // poll(2) passes it over
			}
		}
		if _, err := unix.Poll(fds, l.timeout()); err != nil && !errors.Is(err, unix.EINTR) {
			l.failed("wait for events", err)
		}
		_, _ = unix.Read(l.wake, buffer[:])
		requests, closing := l.take()
		for _, r := range requests {
			l.serve(r)
		}
		l.drain()
		l.retry(time.Now())
		l.searchDue(time.Now())
		l.save(time.Now(), false)
		l.publish()
		if closing {
			return // what was asked and told before is in the state file
		}
	}
}

// take gets what was asked.
func (l *loop) take() (requests []request, closing bool) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	requests, l.f.requests = l.f.requests, nil
	return requests, l.f.closing
}

func (l *loop) serve(r request) {
	switch r.verb {
	case watch:
		l.watch(r)
	case ended:
		l.drain() // it is dead: all it did is in the queues
		l.ended(r.pid)
	case reconcile:
		l.drain()
		removed := l.reconcile()
		l.publish() // who waited for us may look at once
		r.reply <- removed
	}
}

// timeout in ms until something is due; -1 if nothing is.
func (l *loop) timeout() int {
	next := l.saveAt
	if !l.searchAt.IsZero() && (next.IsZero() || l.searchAt.Before(next)) {
		next = l.searchAt
	}
	for _, at := range l.due {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, p := range l.pendingV {
		if !p.due.IsZero() && (next.IsZero() || p.due.Before(next)) {
			next = p.due
		}
	}
	if next.IsZero() {
		return -1
	}
	return int(max(0, time.Until(next).Milliseconds()+1))
}

// publish shows others the state as far as they may see it.
func (l *loop) publish() {
	usage := map[*worker][]used{}
	for w := range l.dirty {
		list := make([]used, 0, len(w.objects))
		for o := range w.objects {
			list = append(list, used{o.dir, o.name, o.id})
		}
		usage[w] = list
	}
	clear(l.dirty)
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	for w, list := range usage {
		if l.workers[w.pid] == w {
			l.f.usage[w.pid] = account{list, w.before}
		} else if l.workers[w.pid] == nil {
			delete(l.f.usage, w.pid)
		}
	}
	l.f.counters.Watched = len(l.workers) + len(l.former)
	l.f.counters.Pending = len(l.pending) + len(l.pendingV)
}

func (l *loop) failed(what string, err error) {
	l.f.count(func(c *Counters) { c.Errors++ })
	l.f.cfg.Log.Warn("leak finder: "+what, "error", err)
}
