package route_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/route"
)

// ended is how reading from a connection that nobody writes to ends.
func ended(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(patience)) // fails where Read will
	_, err := c.Read(make([]byte, 1))
	return err
}

// echoes shows that a connection works, whose other end is accepted.
func echoes(t testing.TB, c, accepted net.Conn) {
	_, err := accepted.Write([]byte("x"))
	require.NoError(t, err)
	b := make([]byte, 1)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err = c.Read(b)
	require.NoError(t, err)
}

func accept(t testing.TB, e *endpoint) net.Conn {
	require.NoError(t, e.l.SetDeadline(time.Now().Add(patience)))
	c, err := e.l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDialerCutsTheDead(t *testing.T) {
	e := newEndpoint(t)
	r := at(active("a", 1), e.address())
	s := newSupervisor(t, r)
	table := dialed(t, s.target())
	dial := table.Dialer()
	connect := func() (c, accepted net.Conn) {
		c, err := dial(within(t), e.address())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c, accept(t, e)
	}
	before, accepted := connect()
	echoes(t, before, accepted)
	closed, _ := connect()
	require.NoError(t, closed.Close())

	death := now()
	after, acceptedAfter := connect()
	r = failover(r, death)
	s.publish(r)
	err := ended(before)
	var cut *route.CutError
	require.ErrorAs(t, err, &cut)
	require.Equal(t, route.CutError{ProcessID: "ns:a:echo", Epoch: 1}, *cut)
	_, err = before.Write([]byte("x"))
	require.ErrorAs(t, err, &cut)
	require.ErrorContains(t, ended(accepted), "EOF", "the other side learns it too")
	echoes(t, after, acceptedAfter)
	require.EqualValues(t, 1, table.Stats().Cut)

	// Half closing works through it.
	require.NoError(t, after.(interface{ CloseWrite() error }).CloseWrite())
	require.ErrorContains(t, ended(acceptedAfter), "EOF")
	echoes(t, after, acceptedAfter)

	// A planned change cuts nobody, and neither does the end.
	r.Epoch++
	r.DeathMonotonicNs, r.Reason = 0, understudyv1.RouteReason_ROUTE_REASON_LAUNCH
	s.publish(r)
	s.publish(gone(r, understudyv1.RouteReason_ROUTE_REASON_TERMINATE))
	until(t, table, route.Key{Pattern: "echo", Namespace: "a"}, isGone)
	echoes(t, after, acceptedAfter)
	require.EqualValues(t, 1, table.Stats().Cut)
}

// Without a clock in common, whatever is open when a death becomes known is
// cut, once.
func TestDialerOnAnotherMachine(t *testing.T) {
	e := newEndpoint(t)
	r := at(active("a", 1), e.address())
	s := newSupervisor(t, r)
	table := dialed(t, s.target())
	dial := table.Dialer()

	death := now()
	c, err := dial(within(t), e.address())
	require.NoError(t, err)
	defer c.Close()
	r = failover(r, death)
	r.Published = timestamppb.New(time.Now().Add(-time.Hour))
	s.publish(r)
	var cut *route.CutError
	require.ErrorAs(t, ended(c), &cut)

	c, err = dial(within(t), e.address())
	require.NoError(t, err)
	defer c.Close()
	r.Epoch++ // the same death: first the wait for a worker, then the worker
	s.publish(r)
	until(t, table, route.Key{Pattern: "echo", Namespace: "a"}, atEpoch(r.Epoch))
	accept(t, e)
	echoes(t, c, accept(t, e))
}

func TestDialerToNoRoute(t *testing.T) {
	e := newEndpoint(t)
	table := dialed(t, newSupervisor(t).target())
	c, err := table.Dialer()(within(t), e.address())
	require.NoError(t, err)
	defer c.Close()
	require.IsType(t, &net.UnixConn{}, c)
	e.l.Close()
	_, err = table.Dialer()(within(t), e.address())
	require.ErrorContains(t, err, "e.sock")
}
