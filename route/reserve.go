package route

import (
	"bytes"
	"context"
	"net"
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
	table    *Table
	identity identity
	address  string
	sub      *subchannel
	socket   socket

	context context.Context // until Close
	cancel  context.CancelFunc
	// connected is closed once real is there, or never will be.
	connected chan struct{}
	real      atomic.Pointer[greeted] // nil before connect
	greeting  []byte                  // what is left of it; the reader's
	acked     bool                    // the acknowledgement was written; the writer's

	mu      sync.Mutex // is not held while anything waits
	kept    []byte     // written before connect
	called  bool       // there is more in it than gRPC's hello
	counted bool       // among Stats.InReserve
	err     error      // why connect failed, or net.ErrClosed
}

// The parts of HTTP/2 that matter here: RFC 9113, 3.4, 4.1 and 6.5.
const (
	clientPreface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeader     = 9
	frameSettings   = 4
	flagAck         = 1
	noSettingsFrame = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

func (t *Table) newReserve(i identity, address string, s *subchannel) *reserve {
	r := &reserve{table: t, identity: i, address: address, sub: s,
		socket: newSocket(address), connected: make(chan struct{}), greeting: []byte(noSettingsFrame)}
	r.context, r.cancel = context.WithCancel(context.Background())
	return r
}

// connect makes it a connection, once.
func (r *reserve) connect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.real.Load() == nil && r.err == nil {
		r.connectLocked()
	}
}

// connectLocked does not wait: the address is local, and Close ends the dial.
func (r *reserve) connectLocked() {
	r.count(false)
	defer close(r.connected)
	raw, err := r.socket.connect(r.context)
	if err != nil {
		r.err = err
		return
	}
	_, _ = raw.Write(r.kept) // if this fails, so does the next Read
	r.real.Store(&greeted{table: r.table, identity: r.identity, address: r.address, sub: r.sub,
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
	kept, err := r.keep(out, call)
	if kept || err != nil {
		return len(p), err
	}
	real := r.real.Load()
	if call {
		real.unrepeatable()
	}
	if _, err := real.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// keep keeps p for connect, unless there is a connection.
func (r *reserve) keep(p []byte, call bool) (bool, error) {
	if r.real.Load() != nil {
		return false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.real.Load() == nil && r.err == nil && len(r.kept)+len(p) > maxKept {
		r.connectLocked()
	}
	if r.err != nil {
		return false, r.err
	}
	if r.real.Load() != nil {
		return false, nil
	}
	r.kept = append(r.kept, p...)
	r.called = r.called || call
	return true, nil
}

// ready has it be among those in reserve, if it is not connected by now.
func (r *reserve) ready() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.real.Load() == nil && r.err == nil {
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
// server sent, and whether there is anything after it, such as a call. gRPC
// writes whole frames until then.
func (r *reserve) withoutAck(p []byte) (rest []byte, call bool) {
	at := 0
	if bytes.HasPrefix(p, []byte(clientPreface)) {
		at = len(clientPreface)
	}
	for at+frameHeader <= len(p) {
		end := at + frameHeader + int(p[at])<<16 + int(p[at+1])<<8 + int(p[at+2])
		if p[at+3] == frameSettings && p[at+4]&flagAck != 0 {
			r.acked = true
			return append(p[:at:at], p[end:]...), end < len(p)
		}
		at = end
	}
	return p, false
}

// Close ends it, connected or not.
func (r *reserve) Close() error {
	r.cancel() // a dial that is under way
	r.mu.Lock()
	defer r.mu.Unlock()
	if real := r.real.Load(); real != nil {
		return real.Close()
	}
	if r.err == nil {
		r.count(false)
		r.err = net.ErrClosed
		close(r.connected)
		r.socket.close()
	}
	return nil
}

// LocalAddr has no name before there is a connection.
func (r *reserve) LocalAddr() net.Addr {
	if real := r.real.Load(); real != nil {
		return real.LocalAddr()
	}
	network, _ := SplitAddress(r.address)
	return unconnected{network, ""}
}

// RemoteAddr is that of the route.
func (r *reserve) RemoteAddr() net.Addr {
	if real := r.real.Load(); real != nil {
		return real.RemoteAddr()
	}
	network, name := SplitAddress(r.address)
	return unconnected{network, name}
}

type unconnected struct{ network, name string }

func (a unconnected) Network() string { return a.network }
func (a unconnected) String() string  { return a.name }

// gRPC sets deadlines when it closes a connection. What is not connected does
// not wait for anybody.

func (r *reserve) SetDeadline(at time.Time) error {
	if real := r.real.Load(); real != nil {
		return real.SetDeadline(at)
	}
	return nil
}

func (r *reserve) SetReadDeadline(at time.Time) error {
	if real := r.real.Load(); real != nil {
		return real.SetReadDeadline(at)
	}
	return nil
}

func (r *reserve) SetWriteDeadline(at time.Time) error {
	if real := r.real.Load(); real != nil {
		return real.SetWriteDeadline(at)
	}
	return nil
}
