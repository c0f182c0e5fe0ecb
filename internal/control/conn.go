package control

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/internal/fdpass"
	"understudy/internal/poll"
)

// MaxFDs is how many descriptors can travel beside one message.
const MaxFDs = 64

var (
	// ErrFull is returned by Send if the peer has not read what it was sent
	// before. The message is not sent.
	ErrFull = errors.New("control socket full: peer does not read its messages")
	// ErrNone is returned by TryRecv if no message has come.
	ErrNone = errors.New("no control message has come")
	// ErrTruncatedFDs is returned by Recv if descriptors of a message were
	// lost: there were more than MaxFDs, or this process has no more room for
	// them (RLIMIT_NOFILE).
	ErrTruncatedFDs = errors.New("descriptors of a control message were lost")
)

// Conn is one end of a control socket. Send may be called by any goroutine at
// any time, Recv by one at a time.
type Conn struct {
	sock *os.File // in blocking mode, so that the Go runtime does not poll it
	raw  syscall.RawConn
	// readable is an epoll of sock, for what there is to read alone. The Go
	// runtime would wake this process also when the peer has read something, as
	// a standby does with its activation.
	readable *os.File
	wait     syscall.RawConn // of readable
	buf      []byte          // grows to the largest message seen
	oob      [maxOOB]byte
	closed   atomic.Bool
}

// maxOOB is CMSG_SPACE of MaxFDs descriptors: header of 16 bytes, then ints.
const maxOOB = 16 + 4*MaxFDs

// NewConn returns the connection of a SOCK_SEQPACKET unix socket. As with
// net.FileConn the descriptor is duplicated: the caller still has to close f,
// and the peer sees the end when both are closed. It is set to blocking mode,
// and never waits all the same.
func NewConn(f *os.File) (*Conn, error) {
	c := &Conn{}
	if err := c.open(f); err != nil {
		c.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return c, nil
}

func (c *Conn) open(f *os.File) error {
	from, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var fd, epoll int
	if rawErr := from.Control(func(original uintptr) { fd, epoll, err = open(int(original)) }); rawErr != nil {
		return rawErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	c.sock, c.readable = os.NewFile(uintptr(fd), f.Name()), os.NewFile(uintptr(epoll), f.Name())
	if c.raw, err = c.sock.SyscallConn(); err == nil {
		c.wait, err = c.readable.SyscallConn()
	}
	return err
}

// open returns a duplicate of a control socket, and an epoll of it.
func open(original int) (fd, epoll int, err error) {
	domain, err := unix.GetsockoptInt(original, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err == nil {
		var kind int
		kind, err = unix.GetsockoptInt(original, unix.SOL_SOCKET, unix.SO_TYPE)
		if err == nil && (domain != unix.AF_UNIX || kind != unix.SOCK_SEQPACKET) {
			err = unix.EPROTOTYPE
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("no unix socket of type SOCK_SEQPACKET: %w", err)
	}
	if err = fault.Error(fault.ControlDup); err == nil {
		fd, err = unix.FcntlInt(uintptr(original), unix.F_DUPFD_CLOEXEC, 0)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("duplicate: %w", err)
	}
	if err = unix.SetNonblock(fd, false); err == nil {
		epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	}
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP})
		if err == nil {
			err = unix.SetNonblock(epoll, true) // so that the Go runtime polls it
		}
		if err != nil {
			unix.Close(epoll)
		}
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, epoll, err
}

// Send sends one message with descriptors. It never waits: a peer that does
// not read makes it return ErrFull, one that has closed its end EPIPE.
func (c *Conn) Send(b []byte, fds ...int) error {
	switch {
	case len(b) == 0:
		return ErrEmpty
	case len(b) > MaxMessage:
		return ErrOversized
	case len(fds) > MaxFDs:
		return fmt.Errorf("control message with %d descriptors; at most %d can travel", len(fds), MaxFDs)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	var err error
	if rawErr := c.raw.Control(func(fd uintptr) {
		err = uninterrupted(func() error {
			if err := fault.Error(fault.ControlSend); err != nil {
				return err
			}
			_, err := unix.SendmsgN(int(fd), b, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			return err
		})
	}); rawErr != nil {
		return c.closedOr(rawErr)
	}
	if err == unix.EAGAIN {
		return ErrFull
	}
	if err != nil {
		return fmt.Errorf("control socket: send: %w", err)
	}
	return nil
}

// Recv waits for the next message. b is valid until the next Recv; the
// descriptors are close-on-exec and belong to the caller.
//
// ErrOversized, ErrEmpty and ErrTruncatedFDs concern one message, which is
// gone; Recv may be called again. io.EOF says that the peer has closed its end
// and everything it sent was received. An empty message that is followed by
// nothing but the end counts as the end. After Close the error is
// net.ErrClosed, past a deadline os.ErrDeadlineExceeded.
func (c *Conn) Recv() (b []byte, fds []int, err error) {
	var closed error
	rawErr := c.wait.Read(func(uintptr) bool {
		closed = c.raw.Control(func(fd uintptr) {
			err = uninterrupted(func() error {
				b, fds, err = c.recv(int(fd))
				return err
			})
		})
		return closed != nil || err != unix.EAGAIN
	})
	if rawErr = errors.Join(rawErr, closed); rawErr != nil {
		return nil, nil, c.closedOr(rawErr)
	}
	return b, fds, err
}

// TryRecv is Recv without the wait, whatever the deadline: without a message
// its error is ErrNone. It must not be called beside Recv.
func (c *Conn) TryRecv() (b []byte, fds []int, err error) {
	if rawErr := c.raw.Control(func(fd uintptr) {
		err = uninterrupted(func() error {
			b, fds, err = c.recv(int(fd))
			return err
		})
	}); rawErr != nil {
		return nil, nil, c.closedOr(rawErr)
	}
	if err == unix.EAGAIN {
		return nil, nil, ErrNone
	}
	return b, fds, err
}

// closedOr returns err, or net.ErrClosed after Close.
func (c *Conn) closedOr(err error) error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	return err
}

func (c *Conn) recv(fd int) ([]byte, []int, error) {
	// The size first: few connections ever see a message of more than some
	// hundred bytes, and a supervisor has thousands of connections.
	size, _, err := unix.Recvfrom(fd, nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
	if err != nil {
		return nil, nil, receiving(err)
	}
	if want := min(size, MaxMessage); want > len(c.buf) {
		c.buf = make([]byte, max(want, 1<<10))
	}
	n, fds, flags, err := fdpass.Receive(fd, c.buf, c.oob[:], faults)
	switch {
	case err != nil:
		err = receiving(err)
	case flags&unix.MSG_CTRUNC != 0:
		err = ErrTruncatedFDs
	case size > MaxMessage:
		err = ErrOversized
	case n == 0 && hungUp(fd):
		err = io.EOF
	case n == 0:
		err = ErrEmpty
	default:
		return c.buf[:n], fds, nil
	}
	fdpass.CloseAll(fds)
	return nil, nil, err
}

var faults = fdpass.Labels{Recv: fault.ControlRecv, Cut: fault.ControlCut}

// receiving makes sense of an error. ECONNRESET says only that the peer closed
// with messages of ours unread, once, before what it had sent: its last words
// are still to be read.
func receiving(err error) error {
	switch err {
	case unix.EAGAIN, unix.EINTR:
		return err
	case unix.ECONNRESET:
		return unix.EINTR
	}
	return fmt.Errorf("control socket: receive: %w", err)
}

func uninterrupted(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// hungUp tells the end of a connection from an empty datagram: recvmsg returns
// 0 for both.
func hungUp(fd int) bool {
	ready, err := poll.Now(fd, unix.POLLRDHUP)
	return err != nil || ready != 0
}

// SetDeadline bounds a Recv, present or future. The zero time takes it back.
func (c *Conn) SetDeadline(t time.Time) error { return c.readable.SetReadDeadline(t) }

// Close ends Recv and frees the descriptors.
func (c *Conn) Close() error {
	c.closed.Store(true)
	return errors.Join(c.readable.Close(), c.sock.Close()) // a nil *os.File has nothing to close
}
