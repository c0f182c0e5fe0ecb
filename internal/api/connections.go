package api

import (
	"container/list"
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"understudy/internal/principal"
)

// Shares of the connections to one listener. A user whose share is spent loses
// the connection that has been idle for longest; where none is idle, the new
// one is closed. So idle connections lock out nobody, and no user another.
const (
	// ownShare is for root and for the supervisor's own user, each.
	ownShare = 512
	// othersShare is for all other users together, and otherShare for each.
	othersShare = 256
	otherShare  = 64
)

// maxGreeting is how many connections to one listener may be asked about at
// once. One that takes long holds up no other.
const maxGreeting = 64

// nobody stands for users that the kernel does not name.
const nobody = int64(-1)

// connections counts the connections to one listener, by user.
type connections struct {
	access Access
	own    int // shares, as above
	others int
	other  int
	// of says who made a connection. On TCP that is asked of the kernel, which
	// may take its time.
	of func(net.Conn) (principal.Principal, error)
	// greeting holds a token for each connection whose user is not known yet. When
	// it is full, further connections wait to be accepted.
	greeting chan struct{}

	mu        sync.Mutex
	byUser    map[int64]int
	ofOthers  int
	all       map[*conn]struct{}
	idle      list.List // of *conn, the longest idle first
	refused   uint64
	idleEnded uint64
}

func newConnections(a Access) *connections {
	return &connections{access: a, own: ownShare, others: othersShare, other: otherShare,
		of: principal.Of, greeting: make(chan struct{}, maxGreeting),
		byUser: make(map[int64]int), all: make(map[*conn]struct{})}
}

// conn is one connection and who made it.
type conn struct {
	net.Conn
	principal principal.Principal
	unknown   error // why its user is not known
	user      int64
	to        *connections
	greeted   sync.Once // gives the token of to.greeting back
	// Under to.mu:
	calls int
	place *list.Element // in to.idle, while there are no calls
}

// accepted takes a connection whose user is not known yet. It waits while there
// are too many of them.
func (s *connections) accepted(raw net.Conn) *conn {
	s.greeting <- struct{}{}
	return &conn{Conn: raw, to: s, user: nobody}
}

// admit finds out who made a connection and gives it its place, or returns false
// where there is none. It is called once, on a goroutine of the connection's own.
func (s *connections) admit(c *conn) bool {
	principal, unknown := s.of(c.Conn)
	c.greet()
	c.principal, c.unknown = principal, unknown
	if unknown == nil {
		c.user = int64(principal.UID)
	}
	s.mu.Lock()
	victim, room := s.makeRoom(c)
	if room {
		s.all[c] = struct{}{}
		s.byUser[c.user]++
		if !s.privileged(c.user) {
			s.ofOthers++
		}
		c.place = s.idle.PushBack(c)
	} else {
		s.refused++
	}
	s.mu.Unlock()
	if victim != nil {
		victim.Conn.Close()
	}
	return room
}

// greet notes that the user of the connection is known, or that it has ended.
func (c *conn) greet() { c.greeted.Do(func() { <-c.to.greeting }) }

func (s *connections) privileged(user int64) bool {
	return user >= 0 && s.access.mayAlways(uint32(user))
}

// makeRoom finds out whether there is room for c, and takes it from the
// connection it returns where that is what it takes.
func (s *connections) makeRoom(c *conn) (victim *conn, room bool) {
	privileged := s.privileged(c.user)
	share := s.other
	if privileged {
		share = s.own
	}
	switch {
	case s.byUser[c.user] >= share:
		victim = s.longestIdle(func(o *conn) bool { return o.user == c.user })
	case !privileged && s.ofOthers >= s.others:
		victim = s.longestIdle(func(o *conn) bool { return !s.privileged(o.user) })
	default:
		return nil, true
	}
	if victim != nil {
		s.idleEnded++
		s.remove(victim)
	}
	return victim, victim != nil
}

func (s *connections) longestIdle(counts func(*conn) bool) *conn {
	for e := s.idle.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); counts(c) {
			return c
		}
	}
	return nil
}

// remove gives a connection's place back. Under s.mu.
func (s *connections) remove(c *conn) {
	if _, there := s.all[c]; !there {
		return
	}
	delete(s.all, c)
	if s.byUser[c.user]--; s.byUser[c.user] == 0 {
		delete(s.byUser, c.user)
	}
	if !s.privileged(c.user) {
		s.ofOthers--
	}
	if c.place != nil {
		s.idle.Remove(c.place)
		c.place = nil
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.greet()
	c.to.mu.Lock()
	c.to.remove(c)
	c.to.mu.Unlock()
	return c.Conn.Close()
}

// calling notes that a call is under way, until the function it returns is
// called.
func (c *conn) calling() (done func()) {
	c.to.change(c, 1)
	return func() { c.to.change(c, -1) }
}

func (s *connections) change(c *conn, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.calls += by
	if _, there := s.all[c]; !there {
		return
	}
	switch {
	case c.calls > 0 && c.place != nil:
		s.idle.Remove(c.place)
		c.place = nil
	case c.calls == 0 && c.place == nil:
		c.place = s.idle.PushBack(c)
	}
}

// busy notes the calls of each connection: unary ones and streams.
func busyUnary(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	defer connOf(ctx).calling()()
	return next(ctx, r)
}

func busyStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	defer connOf(stream.Context()).calling()()
	return next(srv, stream)
}

// connOf returns the connection of a call, which authorize has let in.
func connOf(ctx context.Context) *conn {
	p, _ := peer.FromContext(ctx)
	return p.AuthInfo.(*identity).conn
}

// admitted is a listener whose connections get a place at their handshake.
type admitted struct {
	net.Listener
	places *connections
}

// Accept implements net.Listener.
func (l admitted) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.places.accepted(raw), nil
}
