package route_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/route"
)

func TestTableFollows(t *testing.T) {
	a := active("a", 1)
	s := newSupervisor(t, a)
	table := dialed(t, s.target())

	r := table.Lookup(route.Key{Pattern: "echo", Namespace: "a"})
	require.NotNil(t, r)
	require.Equal(t, route.Route{ProcessID: "ns:a:echo", Pattern: "echo", Namespace: "a", Address: a.Address,
		Epoch: 1, Pid: 101, State: route.Active, Published: a.PublishedMonotonicNs}, *r)
	require.Nil(t, table.LookupID("ns:b:echo"))

	b := active("b", 7)
	s.publish(b)
	until(t, table, route.Key{Pattern: "echo", Namespace: "b"}, atEpoch(7))
	r = table.LookupID("ns:b:echo")
	require.NotNil(t, r)
	require.Equal(t, b.Address, r.Address)

	death := now()
	s.publish(failover(a, death))
	r = until(t, table, route.Key{Pattern: "echo", Namespace: "a"}, atEpoch(2))
	require.Equal(t, death, r.Death)

	s.publish(gone(b, understudyv1.RouteReason_ROUTE_REASON_TERMINATE))
	until(t, table, route.Key{Pattern: "echo", Namespace: "b"}, isGone)
	require.Nil(t, table.LookupID("ns:b:echo"))
	require.Equal(t, 1, table.Stats().Routes)
}

func TestTableOfOnePattern(t *testing.T) {
	other := active("a", 1)
	other.Pattern, other.ProcessId = "other", "ns:a:other"
	s := newSupervisor(t, active("a", 1), other)
	table := dialed(t, s.target(), route.WithPattern("other"))
	require.Len(t, table.Routes(), 1)
	require.Equal(t, "ns:a:other", table.Routes()[0].ProcessID)
}

// The supervisor vanishes in the middle and comes back with less and with
// other than before.
func TestTableSurvivesTheSupervisor(t *testing.T) {
	a, b := active("a", 1), active("b", 1)
	s := newSupervisor(t, a, b)
	table := dialed(t, s.target())
	changes := table.Subscribe(route.Key{Pattern: "echo", Namespace: "a"})
	defer changes.Close()
	require.EqualValues(t, 1, (<-changes.Updates()).Epoch)

	s.vanish()
	require.Eventually(t, func() bool { return !table.Stats().Connected }, patience, time.Millisecond)
	require.Error(t, table.Stats().LastError)
	for _, k := range []string{"ns:a:echo", "ns:b:echo"} {
		r := table.LookupID(k)
		require.NotNil(t, r, "%s must go on while the supervisor is away", k)
		require.EqualValues(t, 1, r.Epoch)
	}

	s.publish(gone(b, understudyv1.RouteReason_ROUTE_REASON_TERMINATE))
	s.publish(failover(a, now()))
	s.publish(active("c", 1))
	s.appear()
	select {
	case r := <-changes.Updates():
		require.EqualValues(t, 2, r.Epoch)
	case <-time.After(patience):
		t.Fatal("the subscription does not outlive the stream")
	}
	until(t, table, route.Key{Pattern: "echo", Namespace: "b"}, isGone)
	until(t, table, route.Key{Pattern: "echo", Namespace: "c"}, atEpoch(1))
	require.Nil(t, table.LookupID("ns:b:echo"))
	require.EqualValues(t, 2, table.Stats().Routes)
	require.Eventually(t, func() bool { return table.Stats().Streams == 2 && table.Stats().Connected }, patience, time.Millisecond)
}

func TestTableStartsBeforeTheSupervisor(t *testing.T) {
	s := newSupervisor(t, active("a", 1))
	s.vanish()
	_, err := route.Dial(expired(t), s.target())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, s.socket)

	found := make(chan error, 1)
	go func() {
		table, err := route.Dial(within(t), s.target())
		if err == nil {
			if table.LookupID("ns:a:echo") == nil {
				err = fmt.Errorf("not found")
			}
			table.Close()
		}
		found <- err
	}()
	s.appear()
	require.NoError(t, <-found)
}

// expired is for an attempt that fails within a moment.
func expired(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestTableLeavesOutWhatMakesNoSense(t *testing.T) {
	nameless, homeless, stateless := active("x", 1), active("y", 1), active("z", 1)
	nameless.ProcessId = "echo"
	homeless.Address = ""
	stateless.State = understudyv1.RouteState_ROUTE_STATE_UNSPECIFIED
	table := dialed(t, newSupervisor(t, nameless, homeless, stateless, active("a", 1)).target())
	require.Len(t, table.Routes(), 1)
	require.EqualValues(t, 3, table.Stats().Malformed)
}

func TestSubscriptionOfASlowReader(t *testing.T) {
	a := active("a", 1)
	s := newSupervisor(t, a)
	table := dialed(t, s.target())
	slow := table.Subscribe(route.Key{Pattern: "echo", Namespace: "a"})
	for range 500 {
		a = failover(a, now())
		s.publish(a)
	}
	until(t, table, route.Key{Pattern: "echo", Namespace: "a"}, atEpoch(501))
	require.EqualValues(t, 501, (<-slow.Updates()).Epoch, "the newest")
	select {
	case r := <-slow.Updates():
		t.Fatalf("more than the newest: %+v", r)
	default:
	}
	slow.Close()
	_, open := <-slow.Updates()
	require.False(t, open)
	slow.Close()
}

func TestSubscriptionToNothing(t *testing.T) {
	s := newSupervisor(t)
	table := dialed(t, s.target())
	k := route.Key{Pattern: "echo", Session: "s1"}
	sub := table.Subscribe(k)
	require.Equal(t, &route.Route{ProcessID: "session:s1:echo", Pattern: "echo", Session: "s1"}, <-sub.Updates())
	_, err := table.Await(expired(t), k)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	require.NoError(t, table.Close())
	_, open := <-sub.Updates()
	require.False(t, open, "closed with the table")
	sub.Close()
	_, err = table.Await(within(t), k)
	require.ErrorIs(t, err, route.ErrClosed)
	require.NoError(t, table.Synced(expired(t)), "it was")
}

func TestAwait(t *testing.T) {
	s := newSupervisor(t)
	table := dialed(t, s.target())
	got := make(chan uint64, 1)
	go func() {
		r, _ := table.Await(within(t), route.Key{Pattern: "echo", Namespace: "a"})
		got <- r.Epoch
	}()
	s.publish(active("b", 2))
	s.publish(active("a", 3))
	require.EqualValues(t, 3, <-got)
}

// Routes come and go by the thousand, one at a time and all at once.
func TestManyRoutes(t *testing.T) {
	const routes = 10_000
	s := newSupervisor(t)
	for n := range routes {
		r := active(fmt.Sprintf("tenant-%d", n), 1)
		s.routes[r.ProcessId] = r
	}
	table := dialed(t, s.target())
	require.Equal(t, routes, table.Stats().Routes)
	require.Equal(t, routes, len(table.Routes())) // Len would print them all
	for n := range routes {
		namespace := fmt.Sprintf("tenant-%d", n)
		r := table.Lookup(route.Key{Pattern: "echo", Namespace: namespace})
		require.NotNil(t, r)
		require.Equal(t, namespace, r.Namespace)
	}
	s.vanish()
	clear(s.routes)
	s.appear()
	until(t, table, route.Key{Pattern: "echo", Namespace: "tenant-0"}, isGone)
	require.Eventually(t, func() bool { return len(table.Routes()) == 0 }, patience, time.Millisecond)
	require.Zero(t, table.Stats().Routes)
}

func Example() {
	// A proxy on the supervisor's machine. The socket lies in its runtime
	// directory.
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	table, err := route.Dial(ctx, "unix://"+filepath.Join("/run/nowhere", "api.sock"))
	if err != nil {
		fmt.Println("no supervisor here")
		return
	}
	defer table.Close()
	if r := table.Lookup(route.Key{Pattern: "echo", Namespace: "acme"}); r != nil {
		fmt.Println(r.Address, r.Epoch)
	}
	policy, _ := route.RetryPolicy("understudy.echo.v1.Echo/Say")
	_ = policy // for grpc.WithDefaultServiceConfig
	cc, err := table.NewClient(route.Target(route.Key{Pattern: "echo", Namespace: "acme"}))
	if err == nil {
		cc.Close()
	}
	// Output: no supervisor here
}
