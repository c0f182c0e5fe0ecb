package sentinel

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Kind says how far a death has gone.
type Kind uint8

// The kinds of notices, in the order in which they come. Any but Exited may be
// missing; none comes twice for a process.
const (
	// Doomed: there is no way back, though other threads may run for some
	// microseconds more.
	Doomed Kind = iota + 1
	// Fenced: no user code of the process will run again.
	Fenced
	// Exited: the process can be reaped.
	Exited
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"", "doomed", "fenced", "exited"}[k]
}

// Notice is one step of a process's death.
type Notice struct {
	Pid    int
	Kind   Kind
	Source Source
	// At is the kernel's time of the event and Seen the sentinel's, both
	// CLOCK_MONOTONIC nanoseconds; At is 0 where the source does not tell it.
	At, Seen int64
	// Signal is what killed it, 0 where that is not known or there was none.
	Signal int
}

// Handler takes a process's notices, on the sentinel's thread: it must not
// block. It may call Watch, Unwatch and Close.
type Handler func(Notice)

// ErrClosed: the sentinel was closed.
var ErrClosed = errors.New("sentinel is closed")

// watched is one process, or one other descriptor (pid 0).
type watched struct {
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
	events []unix.EpollEvent
	early  earlySource // nil on the lowest rung
	ladder []Feature

	mu    sync.Mutex // never held across a system call that can block
	byFD  map[int32]*watched
	byPid map[int]*watched
}

// New makes a sentinel, choosing the best death source that works here; what
// it chose and why is in Status. It fails only where not even pidfds work.
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
		events: make([]unix.EpollEvent, 128), byFD: make(map[int32]*watched), byPid: make(map[int]*watched)}
	if err := s.climb(); err != nil {
		s.release()
		return nil, err
	}
	if err := s.add(wake, &watched{fd: wake, ready: func() {}}); err != nil {
		s.release()
		return nil, fmt.Errorf("sentinel: eventfd: %w", err)
	}
	return s, nil
}

// Run watches until Close, on a thread that it keeps to itself. It calls
// started there first, when Status is complete.
func (s *Sentinel) Run(started func()) error {
	runtime.LockOSThread() // never unlocked: the thread ends with its priority
	defer close(s.ended)
	defer s.release()
	s.raise()
	started()
	for !s.closed.Load() {
		n, err := unix.EpollWait(s.epoll, s.events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("sentinel: epoll: %w", err)
		}
		seen := Now()
		for i := range s.events[:n] {
			s.dispatch(s.events[i].Fd, seen)
		}
	}
	return nil
}

func (s *Sentinel) dispatch(fd int32, seen int64) {
	s.mu.Lock()
	w := s.byFD[fd]
	if w != nil && w.pid != 0 {
		// A pidfd tells one thing, once; a dead one would wake us for ever.
		delete(s.byFD, fd)
		delete(s.byPid, w.pid)
		_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, int(fd), nil)
	}
	s.mu.Unlock()
	switch {
	case w == nil:
	case w.pid == 0:
		w.ready()
	default:
		if s.early != nil {
			s.early.unwatch(w.pid)
		}
		w.handle(Notice{Pid: w.pid, Kind: Exited, Source: SourcePidfd, Seen: seen})
	}
}

// Watch has h called with the notices of process pid, the last of which is
// Exited: after it the process is not watched any more. pidfd stays the
// caller's, who must keep it open until then or until Unwatch. A process that
// is dead already gives its notice at once.
func (s *Sentinel) Watch(pid, pidfd int, h Handler) error {
	w := &watched{pid: pid, fd: pidfd, handle: h}
	s.mu.Lock()
	if s.byPid[pid] != nil {
		s.mu.Unlock()
		return fmt.Errorf("sentinel: process %d is watched already", pid)
	}
	s.byPid[pid] = w
	s.mu.Unlock()
	if s.early != nil {
		if err := s.early.watch(pid); err != nil {
			s.Unwatch(pid)
			return fmt.Errorf("sentinel: watch process %d: %w", pid, err)
		}
	}
	if err := s.add(pidfd, w); err != nil {
		s.Unwatch(pid)
		return fmt.Errorf("sentinel: watch process %d: %w", pid, err)
	}
	return nil
}

// WatchFD has h called, on the sentinel's thread, whenever fd can be read.
func (s *Sentinel) WatchFD(fd int, h func()) error {
	return s.add(fd, &watched{fd: fd, ready: h})
}

func (s *Sentinel) add(fd int, w *watched) error {
	if s.closed.Load() {
		return ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byFD[int32(fd)] = w
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// Unwatch ends the watching of pid. From the sentinel's own thread no notice
// comes after it; from another, one may be under way.
func (s *Sentinel) Unwatch(pid int) {
	s.mu.Lock()
	w := s.byPid[pid]
	if w != nil {
		delete(s.byPid, pid)
		if s.byFD[int32(w.fd)] == w {
			delete(s.byFD, int32(w.fd))
			_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, w.fd, nil)
		}
	}
	s.mu.Unlock()
	if w != nil && s.early != nil {
		s.early.unwatch(pid)
	}
}

// earlyNotice passes on what an early source saw, each kind once.
func (s *Sentinel) earlyNotice(n Notice) {
	s.mu.Lock()
	w := s.byPid[n.Pid]
	if w != nil {
		switch {
		case n.Kind == Doomed && !w.doomed && !w.fenced:
			w.doomed = true
		case n.Kind == Fenced && !w.fenced:
			w.fenced = true
		default:
			w = nil
		}
	}
	s.mu.Unlock()
	if w != nil {
		w.handle(n)
	}
}

// Close ends Run. It does not wait, so handlers may call it.
func (s *Sentinel) Close() {
	if s.closed.CompareAndSwap(false, true) {
		one := [8]byte{1}
		_, _ = unix.Write(s.wake, one[:])
	}
}

// Done is closed when Run has returned.
func (s *Sentinel) Done() <-chan struct{} { return s.ended }

func (s *Sentinel) release() {
	if s.early != nil {
		s.early.close()
	}
	unix.Close(s.wake)
	unix.Close(s.epoll)
}

// Now is CLOCK_MONOTONIC in nanoseconds, the clock of every notice.
func Now() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail for this clock
	return t.Nano()
}
