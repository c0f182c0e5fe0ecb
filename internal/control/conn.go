package control

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxFDs is how many descriptors may come with one message: listeners and
// segments of a binding.
const maxFDs = 64

// Pair returns the two ends of a control socket: the supervisor's, and the one
// that a worker inherits.
func Pair() (supervisor, worker *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// Conn is one end of a control socket. One goroutine may receive while others
// send.
type Conn struct {
	conn *net.UnixConn
	in   []byte // reused: a message is decoded before the next is received
	oob  []byte
}

// NewConn makes a Conn of a duplicate of f; f stays the caller's.
func NewConn(f *os.File) (*Conn, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("control socket: descriptor is a %T, not a unix socket", c)
	}
	// One byte more than allowed tells an oversized datagram from a full one.
	return &Conn{conn: u, in: make([]byte, MaxMessage+1), oob: make([]byte, unix.CmsgSpace(4*maxFDs))}, nil
}

// Send sends one datagram with descriptors beside it. It waits for room.
func (c *Conn) Send(b []byte, fds ...int) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("%w: %d bytes", ErrOversized, len(b))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err := c.conn.WriteMsgUnix(b, rights, nil)
	return err
}

// Recv waits for one datagram. The bytes are valid until the next call; the
// descriptors are close-on-exec and the caller's. An empty datagram is how
// SOCK_SEQPACKET tells the end, so it is io.EOF; nobody may send one.
func (c *Conn) Recv() (b []byte, fds []int, err error) {
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(c.in, c.oob)
	if err != nil {
		return nil, nil, err
	}
	fds, err = rights(c.oob[:oobn])
	switch {
	case err != nil:
	case flags&unix.MSG_CTRUNC != 0:
		err = ErrTruncatedFDs
	case flags&unix.MSG_TRUNC != 0 || n > MaxMessage:
		err = ErrOversized
	case n == 0:
		err = io.EOF
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, nil, err
	}
	return c.in[:n], fds, nil
}

// SetDeadline bounds sends and receives from now on; the zero time lifts it.
func (c *Conn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// Close closes this end.
func (c *Conn) Close() error { return c.conn.Close() }

func rights(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, fmt.Errorf("%w: %v", ErrMalformed, err)
		}
		fds = append(fds, more...)
	}
	for _, fd := range fds { // net sets MSG_CMSG_CLOEXEC; being sure costs nothing
		unix.CloseOnExec(fd)
	}
	return fds, nil
}
