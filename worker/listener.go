package worker

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// listener is a passed socket. It says when the first Accept is called, and
// enters what it accepts with the heir.
type listener struct {
	net.Listener
	session *session
	first   sync.Once
	ready   func()
}

func (s *session) listen(fd int, ready func()) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("passed socket: %w", err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the address is the supervisor's
	}
	return &listener{Listener: l, session: s, ready: ready}, nil
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	// Beside Accept, not before it: the supervisor's ear is not on the way of
	// the connections that wait.
	l.first.Do(func() { go l.ready() })
	c, err := l.Listener.Accept()
	if err != nil || l.session.heir == nil {
		return c, err
	}
	fd := descriptor(c)
	l.session.heir.Track(fd)
	return &conn{Conn: c, heir: l.session.heir, fd: fd}, nil
}

// conn is an accepted connection that the heir will shut down if we die.
type conn struct {
	net.Conn
	heir   tracker
	fd     int
	closed atomic.Bool
}

type tracker interface {
	Track(fd int)
	Untrack(fd int)
}

// Close closes the connection. The heir must forget it before the kernel can
// give its number to another.
func (c *conn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.heir.Untrack(c.fd)
	}
	return c.Conn.Close()
}

// descriptor is the number of a connection's descriptor, -1 for none.
func descriptor(c net.Conn) int {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return -1
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1
	}
	fd := -1
	_ = raw.Control(func(n uintptr) { fd = int(n) })
	return fd
}
