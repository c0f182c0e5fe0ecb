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

// nobody stands for those of whom the kernel does not say who they are.
const nobody = int64(-1)

// connections are those to one listener, by user.
type connections struct {
	access Access
	own    int // shares, as above
	others int
	other  int

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
		byUser: make(map[int64]int), all: make(map[*conn]struct{})}
}

// conn is one connection and who made it.
type conn struct {
	net.Conn
	principal principal.Principal
	unknown   error // why nobody knows who made it
	user      int64
	to        *connections
	// Under to.mu:
	calls int
	place *list.Element // in to.idle, while there are no calls
}

// admit gives a connection its place, or closes it and returns nil.
func (s *connections) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, to: s, user: nobody}
	if c.principal, c.unknown = principal.Of(raw); c.unknown == nil {
		c.user = int64(c.principal.UID)
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
	if !room {
		raw.Close()
		return nil
	}
	return c
}

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

// admitted is a listener whose connections have a place.
type admitted struct {
	net.Listener
	places *connections
}

// Accept implements net.Listener.
func (l admitted) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.places.admit(raw); c != nil {
			return c, nil
		}
	}
}
