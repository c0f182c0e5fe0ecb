package floor

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience is how long the client waits for its byte.
const patience = 10 * time.Second

// Main is the role: the client, whose forks are the bare processes. It prints
// each time in nanoseconds on a line of its own.
func Main() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("arguments are KIND N, not %q", os.Args[1:])
	}
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return fmt.Errorf("n: %w", err)
	}
	runtime.LockOSThread() // the forks die with this thread
	out := bufio.NewWriter(os.Stdout)
	for range n {
		d, err := once(Kind(os.Args[1]))
		if err != nil {
			return err
		}
		fmt.Fprintln(out, int64(d))
	}
	return out.Flush()
}

// stage is what the client and its forks have in common. It is made before the
// forks, which must not allocate.
type stage struct {
	listener int
	address  unix.Sockaddr
	pair     [2]int // 0 is the active process's end, 1 the standby's
	ready    [2]int // each fork writes a byte when it is
	hangup   unix.PollFd
	byte     byte
	held     bool // the active process accepts a connection first
}

// once plays one death.
func once(kind Kind) (time.Duration, error) {
	s, err := newStage()
	if err != nil {
		return 0, err
	}
	s.held = kind != Fresh
	defer unix.Close(s.listener)
	var forks []int
	defer func() {
		for _, pid := range forks {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
		}
	}()
	for _, body := range []func(*stage){active, standby} {
		pid, err := fork(s, body)
		if err != nil {
			return 0, fmt.Errorf("fork: %w", err)
		}
		forks = append(forks, pid)
	}
	for _, fd := range []int{s.pair[0], s.pair[1], s.ready[1]} {
		unix.Close(fd)
	}
	defer unix.Close(s.ready[0])
	held := -1
	if s.held {
		if held, err = s.connect(); err != nil {
			return 0, err
		}
		defer unix.Close(held)
	}
	for range forks {
		if _, err := read(s.ready[0]); err != nil {
			return 0, fmt.Errorf("ready: %w", err)
		}
	}
	// Some time later, when everybody sleeps, and at no particular time.
	time.Sleep(time.Millisecond + rand.N(time.Millisecond))

	start := time.Now()
	if err := unix.Kill(forks[0], unix.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill: %w", err)
	}
	if held >= 0 {
		if n, err := read(held); n > 0 || errors.Is(err, unix.EAGAIN) {
			return 0, fmt.Errorf("the dead process's connection is not closed: read %d, %v", n, err)
		}
	}
	if kind == Ended {
		return time.Since(start), nil
	}
	c, err := s.connect()
	if err != nil {
		return 0, err
	}
	defer unix.Close(c)
	n, err := read(c)
	took := time.Since(start)
	if n != 1 {
		return 0, fmt.Errorf("the standby does not answer: read %d, %v", n, err)
	}
	return took, nil
}

func newStage() (*stage, error) {
	s := &stage{}
	var err error
	if s.listener, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	// The kernel finds a name (unix(7), "Autobind").
	if err := unix.Bind(s.listener, &unix.SockaddrUnix{}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	if s.address, err = unix.Getsockname(s.listener); err != nil {
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	if err := unix.Listen(s.listener, 8); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if s.pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	if err := unix.Pipe2(s.ready[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	s.hangup = unix.PollFd{Fd: int32(s.pair[1]), Events: unix.POLLIN}
	return s, nil
}

func (s *stage) connect() (int, error) {
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	limit := unix.NsecToTimeval(int64(patience))
	_ = unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	if err := unix.Connect(c, s.address); err != nil {
		unix.Close(c)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

// read reads a byte. A timeout set on the socket makes its system calls end at
// any of the runtime's signals (signal(7)).
func read(fd int) (int, error) {
	for {
		n, err := unix.Read(fd, []byte{0})
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// What follows runs in forks of a Go process, which have one thread and half a
// runtime: only raw system calls, no allocation, no growing stack.

// fork returns the child's pid; the child runs body and ends. Its death sends
// no signal, which would wake the client.
//
//go:norace
//go:noinline
func fork(s *stage, body func(*stage)) (int, error) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, 0, 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
		body(s)
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return int(pid), nil
}

// active waits for its death, with a connection if there is to be one.
//
//go:norace
//go:nosplit
func active(s *stage) {
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(s.pair[1]), 0, 0)
	if s.held {
		unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s.listener), 0, 0, 0, 0, 0)
	}
	unix.RawSyscall(unix.SYS_WRITE, uintptr(s.ready[1]), uintptr(unsafe.Pointer(&s.byte)), 1)
	for {
		unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// standby waits for the death of the active process and answers one client.
//
//go:norace
//go:nosplit
func standby(s *stage) {
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(s.pair[0]), 0, 0)
	unix.RawSyscall(unix.SYS_WRITE, uintptr(s.ready[1]), uintptr(unsafe.Pointer(&s.byte)), 1)
	unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&s.hangup)), 1, 0, 0, 0, 0)
	c, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s.listener), 0, 0, 0, 0, 0)
	if errno == 0 {
		unix.RawSyscall(unix.SYS_WRITE, c, uintptr(unsafe.Pointer(&s.byte)), 1)
	}
}
