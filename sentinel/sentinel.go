package sentinel

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/monotime"
	"understudy/internal/pace"
)

// batch is how many events one wake-up takes from the kernel.
const batch = 128

// ErrClosed: the sentinel was closed.
var ErrClosed = errors.New("sentinel is closed")

// Options says how a sentinel works.
type Options struct {
	// Source forces a rung; where it does not work, New fails.
	Source Source
	// Realtime asks for SCHED_FIFO for the thread.
	Realtime bool
	// LockMemory asks for the process's pages to be kept in memory.
	LockMemory bool
	// QuietFence has Fenced wake nobody where Doomed was told: it comes with
	// the next notice. It takes a kernel source.
	QuietFence bool
	// Pace turns off what keeps the first milliseconds after a death clear.
	Pace pace.Switches

	// For tests: other than the defaults.
	ringSize int
	hooks    []exitHook
	dumpRest time.Duration
}

// watched is one process, or one other descriptor (pid 0). Its fields but the
// flags never change; the flags belong to the sentinel's lock.
type watched struct {
	token   uint64
	pid, fd int
	handle  Handler
	ready   func()
	doomed  bool
	fenced  bool
}

// Sentinel watches processes from one thread. Make it with New, give Run a
// goroutine of its own, and end it with Close.
type Sentinel struct {
	opts   Options
	epoll  int
	wake   int // eventfd: Close was called
	closed atomic.Bool
	ended  chan struct{}
	events [batch]unix.EpollEvent
	seen   int64        // when the thread woke
	source Source       // of early
	early  earlySource  // nil on the lowest rung
	take   func(record) // s.onRecord, made once: a method value is allocated
	gate   *dumpGate    // nil where dumps cannot be held back
	ladder []Feature

	mu      sync.Mutex // never held while a handler runs
	last    uint64     // the last token given
	unheard uint64     // processes that the early source has no room for
	byToken map[uint64]*watched
	byPid   map[int]*watched
}

// New makes a sentinel, choosing the best death source that works here; what
// it chose and why is in Status. It takes some ten milliseconds, for trying it
// out. It fails only where not even pidfds work, or the forced source does not.
func New(opts Options) (*Sentinel, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("sentinel: epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("sentinel: eventfd: %w", err)
	}
	s := &Sentinel{opts: opts, epoll: epoll, wake: wake, ended: make(chan struct{}),
		byToken: make(map[uint64]*watched), byPid: make(map[int]*watched)}
	s.take = s.onRecord
	var f Feature
	if s.early, s.source, f, err = climb(opts); err != nil {
		s.release()
		return nil, err
	}
	s.ladder = append(s.ladder, f)
	if k, ok := s.early.(*kernelEvents); ok && opts.QuietFence { // now that it was tried
		k.quiet = 1
	}
	s.gate, f = openDumpGate(opts.Pace.On(pace.DumpGate), cmp.Or(opts.dumpRest, dumpRest))
	s.ladder = append(s.ladder, f)
	err = s.WatchFD(wake, func() {})
	if err == nil && s.early != nil {
		err = s.WatchFD(s.early.fd(), func() {}) // step drains it
	}
	if err == nil && s.gate != nil {
		err = errors.Join(s.WatchFD(s.gate.fd, s.gate.onQuestions), s.WatchFD(s.gate.timer, s.gate.onTimer))
	}
	if err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// Run watches until Close, on a thread that it keeps to itself. It calls
// started there first, when Status is complete.
func (s *Sentinel) Run(started func()) error {
	runtime.LockOSThread() // never unlocked: the thread ends with its priority
	defer close(s.ended)
	defer s.release()
	s.ladder = append(s.ladder, raisePriority(s.opts.Realtime), lockMemory(s.opts.LockMemory))
	started()
	for !s.closed.Load() {
		if err := s.step(); err != nil {
			return err
		}
	}
	return nil
}

// step waits for one wake-up and does what it asks for: deaths before all
// else, and of one process in the order in which they happened.
func (s *Sentinel) step() error {
	n, err := unix.EpollWait(s.epoll, s.events[:], -1)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sentinel: epoll: %w", err)
	}
	s.seen = monotime.Now()
	if s.early != nil {
		// Whatever became ready above was told here before.
		s.early.drain(s.take)
	}
	for _, processes := range [...]bool{true, false} {
		for i := range s.events[:n] {
			if w := s.claim(tokenOf(&s.events[i]), processes); w == nil {
				continue
			} else if processes {
				w.handle(Notice{Pid: w.pid, Kind: Exited, Source: SourcePidfd, Seen: s.seen})
			} else {
				w.ready()
			}
		}
	}
	return nil
}

// claim finds what an event is about. A process is forgotten with it: a pidfd
// tells one thing, once.
func (s *Sentinel) claim(token uint64, process bool) *watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byToken[token]
	if w == nil || (w.pid != 0) != process {
		return nil
	}
	if process {
		s.forget(w)
	}
	return w
}

// forget ends the watching of a process, before its handler may close the
// pidfd and reap: both numbers may then be used again. s.mu is held.
func (s *Sentinel) forget(w *watched) {
	delete(s.byToken, w.token)
	delete(s.byPid, w.pid)
	_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, w.fd, nil)
	if s.early != nil {
		s.early.unwatch(w.pid)
	}
}

// onRecord passes on what an early source saw, each kind once and in order.
func (s *Sentinel) onRecord(r record) {
	s.mu.Lock()
	w := s.byToken[r.token]
	if r.token == 0 {
		w = s.byPid[r.pid]
	}
	told := w == nil || w.fenced || r.kind == Doomed && w.doomed
	if !told {
		w.doomed, w.fenced = true, r.kind == Fenced
	}
	s.mu.Unlock()
	if !told {
		// The record may be younger than the wake-up that found it.
		w.handle(Notice{Pid: w.pid, Kind: r.kind, Source: s.source, At: r.at, Seen: max(s.seen, r.at),
			Signal: r.signal, Dumper: r.dumper})
	}
}

// Watch has h called with the notices of process pid, the last of which is
// Exited: then it is not watched any more. A process that is dead already
// gives its notice at once. pidfd stays the caller's, who must keep it open,
// and must not reap the process, until then or until Unwatch.
func (s *Sentinel) Watch(pid, pidfd int, h Handler) error {
	if pid <= 0 {
		return fmt.Errorf("sentinel: watch process %d: %w", pid, unix.EINVAL)
	}
	if err := s.add(&watched{pid: pid, fd: pidfd, handle: h}); err != nil {
		return fmt.Errorf("sentinel: watch process %d: %w", pid, err)
	}
	return nil
}

// WatchFD has h called, on the sentinel's thread, whenever fd can be read. It
// ends when fd is closed.
func (s *Sentinel) WatchFD(fd int, h func()) error {
	if err := s.add(&watched{fd: fd, ready: h}); err != nil {
		return fmt.Errorf("sentinel: watch descriptor %d: %w", fd, err)
	}
	return nil
}

var errWatched = errors.New("is watched already")

func (s *Sentinel) add(w *watched) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	// Not the descriptor but a token goes with an event: the number may have
	// been closed and opened again since the event was taken.
	s.last++
	w.token = s.last
	event := w.event(unix.EPOLLIN)
	if w.pid != 0 {
		if s.byPid[w.pid] != nil {
			return errWatched
		}
		event.Events |= unix.EPOLLONESHOT // a dead process's pidfd stays readable
		if s.early != nil {
			if s.early.watch(w.pid, w.token) != nil { // the map is full
				s.unheard++
			}
		}
	}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, w.fd, &event); err != nil {
		if w.pid != 0 && s.early != nil {
			s.early.unwatch(w.pid)
		}
		return err
	}
	s.byToken[w.token] = w
	if w.pid != 0 {
		s.byPid[w.pid] = w
	}
	return nil
}

// event asks for what becomes of w.
func (w *watched) event(to uint32) unix.EpollEvent {
	return unix.EpollEvent{Events: to, Fd: int32(uint32(w.token)), Pad: int32(uint32(w.token >> 32))}
}

func tokenOf(e *unix.EpollEvent) uint64 { return uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd)) }

// Unwatch ends the watching of pid, if it is watched. Called on the sentinel's
// own thread no notice comes after it; from another, one may be under way.
func (s *Sentinel) Unwatch(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.byPid[pid]; w != nil {
		s.forget(w)
	}
}

// Mute keeps the exit of a watched process back until Unmute; what the early
// source sees is told all the same. It reports whether pid is watched.
func (s *Sentinel) Mute(pid int) bool { return s.listen(pid, 0) }

// Unmute takes Mute back: an exit that has come is told now.
func (s *Sentinel) Unmute(pid int) { s.listen(pid, unix.EPOLLIN) }

func (s *Sentinel) listen(pid int, to uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byPid[pid]
	if w == nil {
		return false
	}
	event := w.event(to | unix.EPOLLONESHOT)
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_MOD, w.fd, &event) == nil
}

// HoldDump has the core dump of process pid begin 10 ms later, so that it takes
// no part in what follows the death: it copies the memory, and others wait for
// its core. The time for it is Doomed, on the sentinel's thread. Where that is
// not possible (Status says why), or when the dump has begun, it does nothing.
func (s *Sentinel) HoldDump(pid int) {
	if s.gate != nil {
		s.gate.hold(pid)
	}
}

// Status says how the sentinel works; it is complete once Run has begun.
func (s *Sentinel) Status() []Feature { return append([]Feature(nil), s.ladder...) }

// Lost is how many early notices were lost for want of room in the kernel's
// ring, and how many processes could not be watched early for want of room in
// its map. Each such death is told by the pidfd. It is 0 once Run has returned.
func (s *Sentinel) Lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.early == nil {
		return 0
	}
	return s.early.lost() + s.unheard
}

// Close ends Run. It does not wait, so handlers may call it.
func (s *Sentinel) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.CompareAndSwap(false, true) {
		one := [8]byte{1}
		_, _ = unix.Write(s.wake, one[:])
	}
}

// Done is closed when Run has returned.
func (s *Sentinel) Done() <-chan struct{} { return s.ended }

func (s *Sentinel) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
	if s.early != nil {
		s.early.close()
		s.early = nil
	}
	if s.gate != nil {
		s.gate.close()
		s.gate = nil
	}
	unix.Close(s.wake)
	unix.Close(s.epoll)
	s.epoll = -1 // Unwatch may still be called
}
