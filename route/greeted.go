package route

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"understudy/internal/h2"
	"understudy/route/reserve"
)

const (
	// maxDials is how often a connection that nobody greets is dialled: once
	// for each worker that dies having just accepted it.
	maxDials = 8
	// maxKept is how much of what gRPC writes before the greeting is kept for
	// the next dial. The HTTP/2 preface and settings, or a TLS hello, are less.
	maxKept = 16 << 10
)

// DialOption has a gRPC client connect through the table, which cuts the
// connections of a dead worker at once: calls in flight on them end with
// UNAVAILABLE, and gRPC connects again.
func (t *Table) DialOption() grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		sub := reserve.Of(ctx)
		if t.noReserve { // the policy may come with a service config: RetryPolicy's has it
			sub = nil
		}
		i, ok := t.owner(address)
		if sub != nil && sub.Waiting() {
			if !ok {
				return nil, fmt.Errorf("route: %s is nobody's address", address)
			}
			return sub.Reserve(t.reserveOf(i, address)), nil
		}
		raw, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		g := &greeted{table: t, identity: i, address: address, dialing: ctx, raw: raw, dials: 1}
		if sub != nil {
			g.line = sub.Dialled()
		}
		if !ok { // not ours: the line is not used
			return raw, nil
		}
		return g, nil
	})
}

// reserveOf is how connections in reserve are made.
func (t *Table) reserveOf(i identity, address string) reserve.Maker {
	network, name := SplitAddress(address)
	return reserve.Maker{
		Network: network, Name: name,
		Dial: func(ctx context.Context) (net.Conn, error) { return dial(ctx, address) },
		Wrap: func(ctx context.Context, raw net.Conn, l *reserve.Line, sent []byte, called bool) reserve.Conn {
			return &greeted{table: t, identity: i, address: address, line: l, dialing: ctx, raw: raw, dials: 1, sent: sent, lost: called}
		},
		Count: func(change int) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.stats.InReserve += change
		},
	}
}

// greeted is a connection to a server that speaks first. Until it has, nothing
// that counts was sent, so a connection that ends is replaced by another.
type greeted struct {
	table    *Table
	identity identity
	address  string
	line     line            // nil where gRPC has another policy than ours
	dialing  context.Context // bounds the dials, as it did the first

	born atomic.Pointer[conn] // set with the greeting

	mu     sync.Mutex // guards the rest, which is of no use once born is set
	raw    net.Conn
	sent   []byte
	lost   bool // sent is not all that was written
	dials  int
	closed bool
}

func (g *greeted) Read(p []byte) (int, error) {
	if c := g.born.Load(); c != nil {
		return c.Read(p)
	}
	for {
		raw := g.current()
		n, err := raw.Read(p)
		if n > 0 {
			g.greet(raw)
			return n, err
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || !g.again() {
			return 0, err
		}
	}
}

// greet makes raw the connection for good.
func (g *greeted) greet(raw net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.born.Store(g.table.born(&conn{Conn: raw, table: g.table, identity: g.identity, line: g.line, released: make(chan struct{})}))
	if g.line != nil {
		// Behind TLS the server does not speak first.
		g.line.Greeted(len(g.sent) == 0 || bytes.HasPrefix(g.sent, []byte(h2.ClientPreface)))
	}
	g.sent = nil
}

// Unrepeatable says that it must not be replaced any more.
func (g *greeted) Unrepeatable() {
	if g.born.Load() != nil {
		return // it is not replaced any more
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost = true
}

// again replaces a connection that ended before its greeting.
func (g *greeted) again() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.lost || g.dials == maxDials || g.dialing.Err() != nil {
		return false
	}
	next, err := dial(g.dialing, g.address)
	if err != nil {
		return false
	}
	g.raw.Close()
	g.raw = next
	g.dials++
	_, _ = next.Write(g.sent) // if this fails, so does the next Read
	return true
}

// Write keeps what it writes until the greeting. That the connection has ended
// is for Read to find, which can do something about it.
func (g *greeted) Write(p []byte) (int, error) {
	if c := g.born.Load(); c != nil {
		return c.Write(p)
	}
	g.mu.Lock()
	c, raw := g.born.Load(), g.raw
	g.lost = g.lost || len(g.sent)+len(p) > maxKept
	keep := c == nil && !g.closed && !g.lost
	if keep {
		g.sent = append(g.sent, p...)
		_, _ = raw.Write(p)
	}
	g.mu.Unlock()
	switch {
	case c != nil:
		return c.Write(p)
	case keep:
		return len(p), nil
	}
	return raw.Write(p) // which stays: it may have to wait
}

// Close closes the connection.
func (g *greeted) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if c := g.born.Load(); c != nil {
		return c.Close()
	}
	return g.raw.Close()
}

func (g *greeted) current() net.Conn {
	if c := g.born.Load(); c != nil {
		return c
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.raw
}

func (g *greeted) LocalAddr() net.Addr                { return g.current().LocalAddr() }
func (g *greeted) RemoteAddr() net.Addr               { return g.current().RemoteAddr() }
func (g *greeted) SetDeadline(at time.Time) error     { return g.current().SetDeadline(at) }
func (g *greeted) SetReadDeadline(at time.Time) error { return g.current().SetReadDeadline(at) }
func (g *greeted) SetWriteDeadline(at time.Time) error {
	return g.current().SetWriteDeadline(at)
}
