package reserve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
)

// Policy is the name of the load balancing policy.
const Policy = "understudy_reserve"

const (
	// reserveDelay is how long a new connection has the machine to itself
	// before there is another in reserve.
	reserveDelay = 5 * time.Millisecond
	// reserveRetry is how long nothing is in reserve after that failed.
	reserveRetry = time.Second
)

// gRPC takes policies while programs initialise, and at no other time.
func init() { balancer.Register(policy{}) }

type policy struct{}

func (policy) Name() string { return Policy }

func (policy) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	return &pair{cc: cc}
}

// pair is what a gRPC channel calls through: one connection, and one in reserve
// where the dialer makes one (see conn). It connects by itself. It takes
// all addresses of a resolver for ways to the same server, and tries them in
// order.
type pair struct {
	cc balancer.ClientConn

	mu        sync.Mutex
	addresses []resolver.Address
	active    *Subchannel // nil without an address
	reserve   *Subchannel // nil: none yet
	failure   error       // why there has been no connection since the last one, or nil
	closed    bool
}

// Subchannel is gRPC's word for one connection at a time and what makes it.
type Subchannel struct {
	pair  *pair
	sc    balancer.SubConn
	state connectivity.State // under pair.mu

	// waiting: the dialer makes a connection in reserve.
	waiting atomic.Bool
	reserve atomic.Pointer[conn] // made by the dialer
	// line is the newest connection that the dialer made; nil: of another kind.
	line atomic.Pointer[Line]
	// successor is what is in reserve for this one.
	successor atomic.Pointer[conn]
}

// Line is one connection of a subchannel. The dialer reports its state here.
// Earlier lines may still be finishing their calls; they change nothing any more.
type Line struct {
	sub *Subchannel
	// plain: it speaks HTTP/2 with nothing around it.
	plain atomic.Bool
	// down: it has ended, which gRPC may not know yet.
	down atomic.Bool
}

// Waiting reports whether the dialer shall make a connection in reserve.
func (s *Subchannel) Waiting() bool { return s.waiting.Load() }

// Dialled makes the line of a new connection.
func (s *Subchannel) Dialled() *Line {
	l := &Line{sub: s}
	s.line.Store(l)
	return l
}

// isDown reports whether the connection has ended.
func (s *Subchannel) isDown() bool {
	l := s.line.Load()
	return l != nil && l.down.Load()
}

type subchannelKey struct{}

// Of returns for which subchannel a dialer is called, or nil where there is
// another policy.
func Of(ctx context.Context) *Subchannel {
	s, _ := credentials.ClientHandshakeInfoFromContext(ctx).Attributes.Value(subchannelKey{}).(*Subchannel)
	return s
}

// UpdateClientConnState learns addresses.
func (p *pair) UpdateClientConnState(s balancer.ClientConnState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	addresses := s.ResolverState.Addresses
	if len(addresses) == 0 {
		p.drop()
		p.fail(errors.New("no address"))
		return balancer.ErrBadResolverState
	}
	if p.active != nil && equal(addresses, p.addresses) {
		return nil
	}
	p.drop()
	p.addresses, p.failure = addresses, nil
	first, err := p.open(false)
	if err != nil {
		p.fail(err)
		return err
	}
	p.active = first
	p.publish()
	return nil
}

func equal(a, b []resolver.Address) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// open makes a subchannel that connects. Under mu.
func (p *pair) open(waiting bool) (*Subchannel, error) {
	s := &Subchannel{pair: p, state: connectivity.Connecting}
	s.waiting.Store(waiting)
	addresses := make([]resolver.Address, len(p.addresses))
	for i, a := range p.addresses {
		a.Attributes = a.Attributes.WithValue(subchannelKey{}, s)
		addresses[i] = a
	}
	var err error
	//lint:ignore SA1019 there is no other way to make one; what is deprecated is several addresses
	s.sc, err = p.cc.NewSubConn(addresses, balancer.NewSubConnOptions{
		StateListener: func(state balancer.SubConnState) { p.changed(s, state) },
	})
	if err != nil {
		return nil, fmt.Errorf("connection in reserve: %w", err)
	}
	s.sc.Connect()
	return s, nil
}

// drop gives up both connections. Under mu.
func (p *pair) drop() {
	if p.reserve != nil {
		p.giveUpReserve()
	}
	if p.active != nil {
		p.active.sc.Shutdown()
		p.active = nil
	}
}

// changed takes a new state of a subchannel.
func (p *pair) changed(s *Subchannel, state balancer.SubConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.state = state.ConnectivityState
	switch {
	case p.closed:
	case s == p.active:
		p.activeChanged(state.ConnectionError)
	case s != p.reserve:
	case s.state == connectivity.Ready:
		p.active.successor.Store(s.reserve.Load())
		p.publish()
		s.reserve.Load().ready()
	case s.state != connectivity.Idle && s.state != connectivity.TransientFailure:
	case p.active.state == connectivity.Idle: // it has come to be used, and its worker has died as well
		p.promote()
		p.activeChanged(state.ConnectionError)
	default:
		p.giveUpReserve()
		p.publish()
		time.AfterFunc(reserveRetry, p.tend)
	}
}

// activeChanged: the active connection is in another state. Under mu.
func (p *pair) activeChanged(err error) {
	switch p.active.state {
	case connectivity.Ready:
		p.failure = nil
		if p.reserve != nil && p.reserve.connected() { // it helped out
			p.giveUpReserve()
		}
		p.publish()
		time.AfterFunc(reserveDelay, p.tend)
	case connectivity.Idle:
		if p.reserve != nil && p.reserve.state == connectivity.Ready {
			if l := p.active.line.Load(); l != nil {
				l.Lost() // known already, but after a planned end
			}
			time.AfterFunc(reserveDelay, p.tend) // the rest can wait until calls are answered
		} else {
			p.active.sc.Connect()
		}
		p.publish()
	case connectivity.TransientFailure:
		p.fail(err)
	}
}

// giveUpReserve lets the calls that it has finish. Under mu.
func (p *pair) giveUpReserve() {
	p.active.successor.Store(nil)
	p.reserve.sc.Shutdown()
	p.reserve = nil
}

// tend does what can wait: it puts the reserve that has come to be used in the
// place of the connection that has ended, and has another one in reserve.
func (p *pair) tend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.active == nil {
		return
	}
	if p.active.state == connectivity.Idle && p.reserve != nil && p.reserve.state == connectivity.Ready && p.reserve.connected() {
		p.promote()
	}
	l := p.active.line.Load()
	if p.reserve != nil || p.active.state != connectivity.Ready || l == nil || !l.plain.Load() || l.down.Load() {
		return
	}
	var err error
	if p.reserve, err = p.open(true); err != nil {
		p.reserve = nil
		time.AfterFunc(reserveRetry, p.tend)
	}
}

// promote makes the reserve the active one. Under mu.
func (p *pair) promote() {
	p.active.sc.Shutdown()
	p.active, p.reserve = p.reserve, nil
	p.active.waiting.Store(false)
	p.publish()
}

// fail makes calls fail until there is a connection. Under mu.
func (p *pair) fail(err error) {
	p.failure = err
	p.publish()
}

// publish gives gRPC the state and a picker. Under mu.
func (p *pair) publish() {
	if p.closed {
		return
	}
	state := balancer.State{ConnectivityState: connectivity.Connecting, Picker: picker{err: balancer.ErrNoSubConnAvailable}}
	inReserve := p.reserve != nil && p.reserve.state == connectivity.Ready
	switch {
	case p.active != nil && (p.active.state == connectivity.Ready || p.active.state == connectivity.Idle && inReserve):
		chosen := picker{active: p.active}
		if inReserve {
			chosen.reserve = p.reserve
		}
		state = balancer.State{ConnectivityState: connectivity.Ready, Picker: chosen}
	case p.failure != nil:
		state = balancer.State{ConnectivityState: connectivity.TransientFailure, Picker: picker{err: p.failure}}
	}
	p.cc.UpdateState(state)
}

// connected reports whether what was in reserve is a connection now.
func (s *Subchannel) connected() bool {
	r := s.reserve.Load()
	return r != nil && r.made() != nil
}

// Greeted: the server has spoken. The reader calls it. Like Lost it does not take
// the pair's lock: the holder of that may be waiting for the reader.
func (l *Line) Greeted(plain bool) {
	l.plain.Store(plain)
	time.AfterFunc(reserveDelay, l.sub.pair.tend)
}

// Down: the connection is ending, and calls from now on go elsewhere.
func (l *Line) Down() { l.down.Store(true) }

// Lost: the connection has ended, which gRPC does not know yet. The way to the
// next worker begins here: the standby accepts while gRPC closes the old one.
func (l *Line) Lost() {
	l.down.Store(true)
	if r := l.sub.successor.Load(); r != nil && l == l.sub.line.Load() {
		r.connect()
	}
}

// ResolverError takes the reason why there are no addresses. Those that are
// there stay in use.
func (p *pair) ResolverError(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active == nil {
		p.fail(fmt.Errorf("name resolver error: %w", err))
	}
}

// UpdateSubConnState is not called where subchannels have listeners.
func (*pair) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle has nothing to do: a pair is never idle.
func (*pair) ExitIdle() {}

// Close gives up everything.
func (p *pair) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.drop()
}

// picker chooses for a call.
type picker struct {
	active, reserve *Subchannel
	err             error
}

// Pick takes no lock, but for the first call that finds the connection ended. It
// connects what it chooses, where nothing else has yet.
func (k picker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	if k.err != nil {
		return balancer.PickResult{}, k.err
	}
	if k.reserve != nil && k.active.isDown() {
		k.reserve.reserve.Load().connect()
		return balancer.PickResult{SubConn: k.reserve.sc}, nil
	}
	return balancer.PickResult{SubConn: k.active.sc}, nil
}
