package route

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// reserve is a gRPC connection that is ready and not connected: everything that
// takes time on gRPC's side of a new connection is done while nobody waits for
// it. Its connect(2) comes when the active connection ends, so that the next
// worker accepts it, and calls are written without waiting for that.
//
// HTTP/2 allows as much: a client need not wait for the server's settings
// before it sends requests, and until they come the initial values are in force
// (RFC 9113, 3.4 and 6.5.3). gRPC waits, so it is given empty settings, which
// say just that. Its acknowledgement of them is kept from the server; the
// server's own come later, as a change of settings.
type reserve struct {
	table         *Table
	identity      identity
	address       string
	local, remote net.Addr
	line          *line
	socket        socket

	context context.Context // until Close
	cancel  context.CancelFunc
	// connected is closed once real is there, or never will be.
	connected chan struct{}
	real      atomic.Pointer[greeted] // nil before connect
	greeting  []byte                  // what is left of it; the reader's
	acked     bool                    // the acknowledgement was written; the writer's

	mu      sync.Mutex // is not held while anything waits
	begun   bool       // connect was called
	closed  bool
	kept    []byte // written before connect
	called  bool   // there is more in it than gRPC's hello
	counted bool   // among Stats.InReserve
	err     error  // why connect failed, or net.ErrClosed
}

// The parts of HTTP/2 that matter here: RFC 9113, 3.4, 4.1, 6.5 and 6.9.
const (
	clientPreface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeader     = 9
	frameSettings   = 4
	frameWindow     = 8 // WINDOW_UPDATE
	flagAck         = 1
	noSettingsFrame = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

func (t *Table) newReserve(i identity, address string, l *line) *reserve {
	r := &reserve{table: t, identity: i, address: address, line: l,
		socket: newSocket(address), connected: make(chan struct{}), greeting: []byte(noSettingsFrame)}
	r.local, r.remote = addressesOf(address)
	r.context, r.cancel = context.WithCancel(context.Background())
	return r
}

// connect makes it a connection, once. It does not wait.
func (r *reserve) connect() {
	if r.real.Load() != nil {
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
		raw, err := dial(r.context, r.address)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.finish(raw, err)
	}()
}

// finish is the end of connect. Under mu.
func (r *reserve) finish(raw net.Conn, err error) {
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
	r.real.Store(&greeted{table: r.table, identity: r.identity, address: r.address, line: r.line,
		dialing: r.context, raw: raw, dials: 1, sent: r.kept, lost: r.called})
	r.kept = nil
}

// Read gives the settings that say nothing, then what the server says.
func (r *reserve) Read(p []byte) (int, error) {
	if len(r.greeting) > 0 {
		n := copy(p, r.greeting)
		r.greeting = r.greeting[n:]
		return n, nil
	}
	<-r.connected
	if real := r.real.Load(); real != nil {
		return real.Read(p)
	}
	return 0, r.err
}

// Write keeps what it writes until there is a connection.
func (r *reserve) Write(p []byte) (int, error) {
	out, call := p, true
	if !r.acked {
		out, call = r.withoutAck(p)
	}
	if r.keep(out, call) {
		return len(p), nil
	}
	r.connect()   // so much is not kept
	<-r.connected // if it was not so before
	real := r.real.Load()
	if real == nil {
		return 0, r.err
	}
	if call {
		real.unrepeatable()
	}
	if _, err := real.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// keep keeps p for connect, unless it is too late or too much for that.
func (r *reserve) keep(p []byte, call bool) bool {
	if r.real.Load() != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.real.Load() != nil || r.err != nil || len(r.kept)+len(p) > maxKept {
		return false
	}
	r.kept = append(r.kept, p...)
	r.called = r.called || call
	return true
}

// ready has it be among those in reserve, if it is not connected by now.
func (r *reserve) ready() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun && !r.closed {
		r.count(true)
	}
}

// count keeps Stats.InReserve. Under mu.
func (r *reserve) count(in bool) {
	if in == r.counted {
		return
	}
	r.counted = in
	r.table.mu.Lock()
	defer r.table.mu.Unlock()
	if in {
		r.table.stats.InReserve++
	} else {
		r.table.stats.InReserve--
	}
}

// withoutAck returns p without the acknowledgement of the settings that no
// server sent, and whether there may be a call in the rest: anything but what
// gRPC begins with. It writes that in whole frames.
func (r *reserve) withoutAck(p []byte) (rest []byte, call bool) {
	at := 0
	if bytes.HasPrefix(p, []byte(clientPreface)) {
		at = len(clientPreface)
	}
	for at+frameHeader <= len(p) {
		end := at + frameHeader + int(p[at])<<16 + int(p[at+1])<<8 + int(p[at+2])
		switch kind := p[at+3]; {
		case kind == frameSettings && p[at+4]&flagAck != 0:
			r.acked = true
			return append(p[:at:at], p[end:]...), call || end < len(p)
		case kind != frameSettings && kind != frameWindow:
			call = true
		}
		at = end
	}
	return p, call || at != len(p)
}

// Close ends it, connected or not.
func (r *reserve) Close() error {
	r.cancel() // a dial that is under way
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.count(false)
	if real := r.real.Load(); real != nil {
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
func (r *reserve) LocalAddr() net.Addr { return r.local }

// RemoteAddr is that of the route.
func (r *reserve) RemoteAddr() net.Addr { return r.remote }

// addressesOf returns both ends of a connection to an address.
func addressesOf(address string) (local, remote net.Addr) {
	network, name := SplitAddress(address)
	if network == "unix" {
		return &net.UnixAddr{Net: network}, &net.UnixAddr{Net: network, Name: name}
	}
	to, _ := netip.ParseAddrPort(name) // no numbers, no address
	return &net.TCPAddr{}, net.TCPAddrFromAddrPort(to)
}

// gRPC sets deadlines when it closes a connection. What is not connected does
// not wait for anybody.

// SetDeadline is for connections.
func (r *reserve) SetDeadline(at time.Time) error {
	if real := r.real.Load(); real != nil {
		return real.SetDeadline(at)
	}
	return nil
}

// SetReadDeadline is for connections.
func (r *reserve) SetReadDeadline(at time.Time) error {
	if real := r.real.Load(); real != nil {
		return real.SetReadDeadline(at)
	}
	return nil
}

// SetWriteDeadline is for connections.
func (r *reserve) SetWriteDeadline(at time.Time) error {
	if real := r.real.Load(); real != nil {
		return real.SetWriteDeadline(at)
	}
	return nil
}
