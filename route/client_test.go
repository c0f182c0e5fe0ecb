package route_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"understudy/patterns/echo/echov1"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/route"
)

var echoA = route.Key{Pattern: "echo", Namespace: "a"}

// client is a client of the route of a namespace.
func client(t testing.TB, table *route.Table, k route.Key, opts ...grpc.DialOption) (*grpc.ClientConn, echov1.EchoClient) {
	cc, err := table.NewClient(route.Target(k), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { cc.Close() })
	return cc, echov1.NewEchoClient(cc)
}

// idempotent has Say retried.
func idempotent(t testing.TB) grpc.DialOption {
	policy, err := route.RetryPolicy("understudy.echo.v1.Echo/Say")
	require.NoError(t, err)
	return grpc.WithDefaultServiceConfig(policy)
}

func say(t testing.TB, c echov1.EchoClient, payload string) (epoch uint64, err error) {
	r, err := c.Say(within(t), &echov1.SayRequest{Payload: []byte(payload)})
	return r.GetEpoch(), err
}

func connected(t testing.TB, cc *grpc.ClientConn) {
	ctx := within(t)
	for s := cc.GetState(); s != connectivity.Ready; s = cc.GetState() {
		require.True(t, cc.WaitForStateChange(ctx, s), "stays %v", s)
	}
}

// The worker dies while it answers, and its connections hang.
func TestClientLetsGoOfTheDead(t *testing.T) {
	e := newEndpoint(t)
	r := at(active("a", 1), e.address())
	s := newSupervisor(t, r)
	table := dialed(t, s.target())
	cc, plain := client(t, table, echoA)
	_, retrying := client(t, table, echoA, idempotent(t))
	first := e.worker(1)
	for _, c := range []echov1.EchoClient{plain, retrying} {
		epoch, err := say(t, c, "")
		require.NoError(t, err)
		require.EqualValues(t, 1, epoch)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := say(t, plain, "wait")
		failed <- err
	}()
	<-first.begun
	first.die()
	death := now()
	second := e.worker(2)
	s.publish(failover(r, death))
	err := <-failed
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "worker of ns:a:echo died")

	connected(t, cc) // without a call
	for _, c := range []echov1.EchoClient{plain, retrying} {
		epoch, err := say(t, c, "")
		require.NoError(t, err)
		require.EqualValues(t, 2, epoch)
	}

	// What may be repeated, is; the next worker does not wait.
	ctx, cancel := context.WithCancel(within(t))
	answered := make(chan error, 1)
	go func() {
		_, err := retrying.Say(ctx, &echov1.SayRequest{Payload: []byte("wait")})
		answered <- err
	}()
	<-second.begun
	second.die()
	death = now()
	third := e.worker(3)
	s.publish(failover(failover(r, 0), death))
	<-third.begun
	cancel()
	require.Equal(t, codes.Canceled, status.Code(<-answered))
}

// The worker hangs, so connections queue. Its successor answers them, and its
// route must not cut them.
func TestClientKeepsWhatTheNextWorkerAccepted(t *testing.T) {
	e := newEndpoint(t)
	r := at(active("a", 1), e.address())
	s := newSupervisor(t, r)
	table := dialed(t, s.target())
	_, c := client(t, table, echoA)
	answered := make(chan error, 1)
	go func() {
		_, err := say(t, c, "wait")
		answered <- err
	}()
	e.queued()
	death := now()
	second := e.worker(2)
	<-second.begun // the call is in flight, on a connection older than the death
	s.publish(failover(r, death))
	until(t, table, echoA, atEpoch(2))
	epoch, err := say(t, c, "")
	require.NoError(t, err)
	require.EqualValues(t, 2, epoch)
	select {
	case err := <-answered:
		t.Fatalf("the call in flight was cut: %v", err)
	default:
	}
	require.Zero(t, table.Stats().Cut)
	// Now it dies in earnest.
	second.die()
	death = now()
	e.worker(3)
	s.publish(failover(failover(r, 0), death))
	require.Equal(t, codes.Unavailable, status.Code(<-answered))
}

// Workers die having just accepted. Nothing was sent to them, so nothing fails.
func TestClientOutlivesWorkersThatDieAccepting(t *testing.T) {
	e := newEndpoint(t)
	table := dialed(t, newSupervisor(t, at(active("a", 1), e.address())).target())
	_, c := client(t, table, echoA)
	answered := make(chan error, 1)
	go func() {
		_, err := say(t, c, "") // fails fast: it does not wait for ready
		answered <- err
	}()
	for range 5 {
		require.NoError(t, accept(t, e).Close())
	}
	e.worker(6)
	require.NoError(t, <-answered)
}

// When all of them do, the call fails and says so.
func TestClientGivesUpOnWorkersThatDieAccepting(t *testing.T) {
	e := newEndpoint(t)
	table := dialed(t, newSupervisor(t, at(active("a", 1), e.address())).target())
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for {
			c, err := e.l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	_, c := client(t, table, echoA)
	_, err := say(t, c, "")
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	e.l.Close()
	<-stop
}

func TestClientWithoutARoute(t *testing.T) {
	e := newEndpoint(t)
	r := at(active("a", 1), e.address())
	s := newSupervisor(t)
	table := dialed(t, s.target())
	_, c := client(t, table, echoA)
	_, err := say(t, c, "")
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "no route to ns:a:echo")

	e.worker(1)
	s.publish(r)
	require.Eventually(t, func() bool { _, err := say(t, c, ""); return err == nil }, patience, time.Millisecond)

	s.publish(gone(r, understudyv1.RouteReason_ROUTE_REASON_FAILED))
	require.Eventually(t, func() bool {
		_, err := say(t, c, "")
		return status.Code(err) == codes.Unavailable && status.Convert(err).Message() != ""
	}, patience, time.Millisecond)
	require.Eventually(t, func() bool {
		_, err := say(t, c, "")
		return err != nil && status.Convert(err).Message() == "name resolver error: ns:a:echo has failed"
	}, patience, time.Millisecond)
}

func TestClientOfAWaitingRoute(t *testing.T) {
	e := newEndpoint(t)
	r := at(active("a", 1), e.address())
	r.State = understudyv1.RouteState_ROUTE_STATE_WAITING
	table := dialed(t, newSupervisor(t, r).target())
	_, c := client(t, table, echoA)
	answered := make(chan error, 1)
	go func() {
		_, err := say(t, c, "")
		answered <- err
	}()
	e.queued()
	e.worker(2)
	require.NoError(t, <-answered)
}

func TestTargetsThatAreRefused(t *testing.T) {
	table := dialed(t, newSupervisor(t).target())
	for target, why := range map[string]string{
		"understudy:///":                           "no pattern",
		"understudy://echo":                        "no pattern",
		"understudy://host/echo":                   `"host"`,
		"understudy:///echo?tenant=a":              `"tenant"`,
		"understudy:///echo?namespace=a&session=":  "session is empty",
		"understudy:///echo?session=a&session=b":   "session is given 2 times",
		"understudy:///echo?namespace=a;session=b": "semicolon",
	} {
		cc, err := grpc.NewClient(target, grpc.WithResolvers(table.Resolver()), table.DialOption(),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err == nil { // the resolver is built with the first call
			_, err = echov1.NewEchoClient(cc).Say(within(t), &echov1.SayRequest{})
			cc.Close()
		}
		require.ErrorContains(t, err, why, target)
	}
}

func TestRetryPolicyRefusesWhatIsNoMethod(t *testing.T) {
	for _, m := range []string{"", "/", "a.B/", "a.B/C/D", "/a.B/C/"} {
		_, err := route.RetryPolicy(m)
		require.Error(t, err, "%q", m)
	}
	for _, m := range [][]string{nil, {"a.B"}, {"a.B/C", "a.B/D"}, {"/a.B/C", "c.D"}} {
		policy, err := route.RetryPolicy(m...)
		require.NoError(t, err)
		cc, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultServiceConfig(policy))
		require.NoError(t, err, "gRPC takes %s", policy)
		cc.Close()
	}
}
