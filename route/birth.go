package route

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/monotime"
)

// births is the connections of a binding that were accepted by one of its
// workers, and the last death among those. See the package's text for which
// are cut. Under Table.mu.
type births struct {
	conns map[*conn]struct{}
	death int64
}

// takeDead returns the connections that end with the death that r follows, if
// that is a new one, and forgets them. before is the route until now, or nil.
func (b *births) takeDead(before, r *Route, comparable func() bool) (dead []*conn) {
	// Its last worker died, and none follows.
	all := r.State == Gone && r.Failed
	// The supervisor lost its memory, and this is another life of the binding.
	all = all || r.State != Gone && before != nil && r.Epoch < before.Epoch
	if !all && (r.Death == 0 || r.Death == b.death) {
		return nil
	}
	b.death = r.Death
	if len(b.conns) == 0 {
		return nil
	}
	all = all || !comparable()
	for c := range b.conns {
		if all || c.born < r.Death {
			dead = append(dead, c)
			delete(b.conns, c)
		}
	}
	return dead
}

// line is where a connection of a gRPC client ends and begins to serve: the
// client's load balancing policy wants to know (reserve.Line).
type line interface {
	Greeted(plain bool) // the server has spoken
	Down()              // it is being cut
	Lost()              // it has ended
}

// conn is a connection that its table may cut.
type conn struct {
	net.Conn
	table    *Table
	identity identity
	line     line // called when it ends; may be nil
	why      atomic.Pointer[CutError]
	// released is closed by the user of the connection when that is closed. It is
	// nil where nothing waits for it.
	released chan struct{}

	// Set once, by Table.born.
	born  int64  // CLOCK_MONOTONIC, nanoseconds
	epoch uint64 // of the route at that time

	// ended: reading has failed, for a client that reads all the time. It says
	// goodbye then, and calls that were under way wait until that is done: it
	// costs no system call.
	ended atomic.Bool

	closed bool // under Table.mu
}

// CutError is why a connection was cut, and what reading from it says then.
type CutError struct {
	ProcessID string
	// Epoch that was known when the connection was made.
	Epoch uint64
}

func (e *CutError) Error() string {
	return fmt.Sprintf("route: worker of %s died (connection of epoch %d)", e.ProcessID, e.Epoch)
}

// born enters c in the table. Taking the time under the lock leaves
// no gap: a route that was set before this cannot follow a later death.
func (t *Table) born(c *conn) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(c.identity)
	if r := e.route.Load(); r != nil {
		c.epoch = r.Epoch
	}
	c.born = monotime.Now()
	if e.conns == nil {
		e.conns = make(map[*conn]struct{})
	}
	e.conns[c] = struct{}{}
	return c
}

// releaseWait is how long the routes of an update may have to wait until gRPC
// has let go of the connections that it cut, which takes microseconds.
const releaseWait = 2 * time.Millisecond

// cut ends connections. A call that begins after it does not choose one of
// them, as long as gRPC keeps to releaseWait.
func cut(dead []*conn) {
	if len(dead) == 0 {
		return
	}
	for _, c := range dead {
		c.why.Store(&CutError{ProcessID: c.identity.String(), Epoch: c.epoch})
		if c.line != nil {
			c.line.Down() // calls from now on go elsewhere
		}
		c.Conn.Close() // wakes whoever reads or writes
	}
	enough := time.NewTimer(releaseWait)
	defer enough.Stop()
	for _, c := range dead {
		if c.released == nil {
			continue
		}
		select {
		case <-c.released:
		case <-enough.C:
			return
		}
	}
}

// Read gives a *CutError once the connection was cut.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.line != nil {
		c.ended.Store(true)
		c.line.Lost()
	}
	return n, c.explain(err)
}

// Write gives a *CutError once the connection was cut.
func (c *conn) Write(p []byte) (int, error) {
	if c.ended.Load() {
		return 0, c.explain(unix.EPIPE)
	}
	n, err := c.Conn.Write(p)
	return n, c.explain(err)
}

// SetReadDeadline has nothing to bound once the connection has ended.
func (c *conn) SetReadDeadline(at time.Time) error {
	if c.ended.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(at)
}

// SetWriteDeadline has nothing to bound once the connection has ended.
func (c *conn) SetWriteDeadline(at time.Time) error {
	if c.ended.Load() {
		return nil
	}
	return c.Conn.SetWriteDeadline(at)
}

func (c *conn) explain(err error) error {
	if err != nil {
		if why := c.why.Load(); why != nil {
			return why
		}
	}
	return err
}

// CloseWrite shuts down the writing side, as proxies do.
func (c *conn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite() // *net.TCPConn or *net.UnixConn
}

// Close closes the connection.
func (c *conn) Close() error {
	c.table.mu.Lock()
	if c.released != nil && !c.closed {
		close(c.released)
	}
	c.closed = true
	if e := c.table.index.Load().find(hashOf(c.table.seed, c.identity), c.identity); e != nil {
		delete(e.conns, c)
	}
	c.table.mu.Unlock()
	return c.Conn.Close()
}
