package reserve

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"understudy/internal/h2"
)

// conn is a gRPC connection that is ready and not connected: everything that
// takes time on gRPC's side of a new connection is done while nobody waits for
// it. Its connect(2) comes when the active connection ends, so that the next
// worker accepts it, and calls are written without waiting for that.
//
// HTTP/2 allows as much: a client need not wait for the server's settings
// before it sends requests, and until they come the initial values are in force
// (RFC 9113, 3.4 and 6.5.3). gRPC waits, so it is given empty settings, which
// say just that. Its acknowledgement of them is kept from the server; the
// server's own come later, as a change of settings.
type conn struct {
	maker         Maker
	local, remote net.Addr
	line          *Line
	socket        socket

	context context.Context // until Close
	cancel  context.CancelFunc
	// connected is closed once real is there, or never will be.
	connected chan struct{}
	real      atomic.Pointer[Conn] // nil before connect
	greeting  []byte               // what is left of it; the reader's
	acked     bool                 // the acknowledgement was written; the writer's

	mu      sync.Mutex // is not held while anything waits
	begun   bool       // connect was called
	closed  bool
	kept    []byte // written before connect
	called  bool   // there is more in it than gRPC's hello
	counted bool   // among Stats.InReserve
	err     error  // why connect failed, or net.ErrClosed
}

// Maker is what the dialer gives to make a connection.
type Maker struct {
	Network, Name string // net.Dial's
	// Dial connects.
	Dial func(ctx context.Context) (net.Conn, error)
	// Wrap takes a new connection, to which sent was written. called: there
	// may be a call in that, so that it must not be written to another.
	// ctx is the connection's life.
	Wrap func(ctx context.Context, raw net.Conn, l *Line, sent []byte, called bool) Conn
	// Count counts the connections that are ready, and not connected.
	Count func(change int)
}

// Conn is what Wrap makes.
type Conn interface {
	net.Conn
	// Unrepeatable says that a call is going to be written.
	Unrepeatable()
}

// maxKept is how much of what gRPC writes before connect is kept.
const maxKept = 16 << 10

// Reserve makes a connection that is ready and not connected. The dialer returns
// it where the subchannel is Waiting.
func (s *Subchannel) Reserve(m Maker) net.Conn {
	r := &conn{maker: m, line: s.Dialled(), socket: newSocket(m.Network, m.Name),
		connected: make(chan struct{}), greeting: []byte(h2.EmptySettings)}
	r.local, r.remote = addressesOf(m.Network, m.Name)
	r.context, r.cancel = context.WithCancel(context.Background())
	s.reserve.Store(r)
	return r
}

// made is the connection, nil before connect.
func (r *conn) made() Conn {
	if c := r.real.Load(); c != nil {
		return *c
	}
	return nil
}

// connect makes it a connection, once. It does not wait.
func (r *conn) connect() {
	if r.made() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun || r.closed {
		return
	}
	r.begun = true
	r.count(false)
	if r.socket.conn != nil {
		r.finish(r.socket.connect())
		return
	}
	go func() {
		raw, err := r.maker.Dial(r.context)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.finish(raw, err)
	}()
}

// finish is the end of connect. Under mu.
func (r *conn) finish(raw net.Conn, err error) {
	defer close(r.connected)
	if err == nil && r.closed {
		raw.Close()
		err = net.ErrClosed
	}
	if err != nil {
		r.err = err
		return
	}
	_, _ = raw.Write(r.kept) // if this fails, so does the next Read
	real := r.maker.Wrap(r.context, raw, r.line, r.kept, r.called)
	r.real.Store(&real)
	r.kept = nil
}

// Read gives the settings that say nothing, then what the server says.
func (r *conn) Read(p []byte) (int, error) {
	if len(r.greeting) > 0 {
		n := copy(p, r.greeting)
		r.greeting = r.greeting[n:]
		return n, nil
	}
	<-r.connected
	if real := r.made(); real != nil {
		return real.Read(p)
	}
	return 0, r.err
}

// Write keeps what it writes until there is a connection.
func (r *conn) Write(p []byte) (int, error) {
	out, call := p, true
	if !r.acked {
		out, call = r.withoutAck(p)
	}
	if r.keep(out, call) {
		return len(p), nil
	}
	r.connect()   // so much is not kept
	<-r.connected // if it was not so before
	real := r.made()
	if real == nil {
		return 0, r.err
	}
	if call {
		real.Unrepeatable()
	}
	if _, err := real.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// keep keeps p for connect, unless it is too late or too much for that.
func (r *conn) keep(p []byte, call bool) bool {
	if r.made() != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made() != nil || r.err != nil || len(r.kept)+len(p) > maxKept {
		return false
	}
	r.kept = append(r.kept, p...)
	r.called = r.called || call
	return true
}

// ready counts it among those in reserve, if it is not connected by now.
func (r *conn) ready() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun && !r.closed {
		r.count(true)
	}
}

// count counts it once. Under mu.
func (r *conn) count(in bool) {
	if in == r.counted {
		return
	}
	r.counted = in
	if in {
		r.maker.Count(1)
	} else {
		r.maker.Count(-1)
	}
}

// withoutAck returns p without the acknowledgement of the settings that no
// server sent, and whether there may be a call in the rest: anything but what
// gRPC begins with. It writes that in whole frames.
func (r *conn) withoutAck(p []byte) (rest []byte, call bool) {
	at := 0
	if bytes.HasPrefix(p, []byte(h2.ClientPreface)) {
		at = len(h2.ClientPreface)
	}
	for at+h2.FrameHeader <= len(p) {
		end := at + h2.FrameHeader + int(p[at])<<16 + int(p[at+1])<<8 + int(p[at+2])
		switch kind := p[at+3]; {
		case kind == h2.Settings && p[at+4]&h2.FlagAck != 0:
			r.acked = true
			return append(p[:at:at], p[end:]...), call || end < len(p)
		case kind != h2.Settings && kind != h2.WindowUpdate:
			call = true
		}
		at = end
	}
	return p, call || at != len(p)
}

// Close ends it, connected or not.
func (r *conn) Close() error {
	r.cancel() // a dial that is under way
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.count(false)
	if real := r.made(); real != nil {
		return real.Close()
	}
	if !r.begun {
		r.begun, r.err = true, net.ErrClosed
		r.socket.close()
		close(r.connected)
	}
	return nil
}

// LocalAddr has no name: gRPC asks before there is a connection.
func (r *conn) LocalAddr() net.Addr { return r.local }

// RemoteAddr is that of the route.
func (r *conn) RemoteAddr() net.Addr { return r.remote }

// addressesOf returns both ends of a connection to an address.
func addressesOf(network, name string) (local, remote net.Addr) {
	if network == "unix" {
		return &net.UnixAddr{Net: network}, &net.UnixAddr{Net: network, Name: name}
	}
	to, _ := netip.ParseAddrPort(name) // no numbers, no address
	return &net.TCPAddr{}, net.TCPAddrFromAddrPort(to)
}

// gRPC sets deadlines when it closes a connection. What is not connected does
// not wait for anybody.

// SetDeadline is for connections.
func (r *conn) SetDeadline(at time.Time) error {
	if real := r.made(); real != nil {
		return real.SetDeadline(at)
	}
	return nil
}

// SetReadDeadline is for connections.
func (r *conn) SetReadDeadline(at time.Time) error {
	if real := r.made(); real != nil {
		return real.SetReadDeadline(at)
	}
	return nil
}

// SetWriteDeadline is for connections.
func (r *conn) SetWriteDeadline(at time.Time) error {
	if real := r.made(); real != nil {
		return real.SetWriteDeadline(at)
	}
	return nil
}
