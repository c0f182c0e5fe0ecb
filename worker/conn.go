package worker

import (
	"net"
	"sync/atomic"
	"syscall"

	"understudy/worker/heir"
)

// tracked is a connection's entry with the heir, which shuts it down should the
// worker die.
type tracked struct {
	heir *heir.Heir
	fd   int
	gone atomic.Bool
}

// forget comes before the descriptor is closed and its number is free for
// something else. Only the first call counts, for the same reason.
func (t *tracked) forget() {
	if t.gone.CompareAndSwap(false, true) {
		t.heir.Untrack(t.fd)
	}
}

// The connections keep every method of their type (ReadFrom, CloseWrite,
// SyscallConn and so on), and with it the short ways through the kernel.
type (
	unixConn struct {
		*net.UnixConn
		tracked
	}
	tcpConn struct {
		*net.TCPConn
		tracked
	}
)

// Close closes the connection.
func (c *unixConn) Close() error { c.forget(); return c.UnixConn.Close() }

// Close closes the connection.
func (c *tcpConn) Close() error { c.forget(); return c.TCPConn.Close() }

// track returns c, entered with the heir.
func track(c net.Conn, h *heir.Heir) net.Conn {
	switch c := c.(type) {
	case *net.UnixConn:
		w := &unixConn{UnixConn: c}
		w.enter(c, h)
		return w
	case *net.TCPConn:
		w := &tcpConn{TCPConn: c}
		w.enter(c, h)
		return w
	}
	return c // no other kind of listener is passed
}

func (t *tracked) enter(c syscall.Conn, h *heir.Heir) {
	t.heir, t.fd = h, -1 // -1 is nothing to an heir
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // closed already, if it fails
		t.fd = int(fd)
		h.Track(t.fd)
	})
}
