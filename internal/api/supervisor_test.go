package api_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

// route reads the stream until a route of the process id passes.
func route(t *testing.T, stream service.Supervisor_WatchRoutesClient, id string, pass func(*understudyv1.Route) bool) *understudyv1.Route {
	t.Helper()
	for {
		u, err := stream.Recv()
		require.NoError(t, err)
		for _, r := range u.Routes {
			if r.ProcessId == id && pass(r) {
				return r
			}
		}
	}
}

func TestWatchRoutesTellsOfALifeAndOfADeath(t *testing.T) {
	h := open(t)
	ctx := soon(t)
	_, err := h.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "other", Namespace: "before"})
	require.NoError(t, err)
	all, err := h.supervisor.WatchRoutes(ctx, &understudyv1.WatchRoutesRequest{})
	require.NoError(t, err)
	full, err := all.Recv()
	require.NoError(t, err)
	require.True(t, full.Full)
	require.Len(t, full.Routes, 1)
	require.Equal(t, "ns:before:other", full.Routes[0].ProcessId)

	one, err := h.supervisor.WatchRoutes(ctx, &understudyv1.WatchRoutesRequest{Pattern: "good"})
	require.NoError(t, err)
	full, err = one.Recv()
	require.NoError(t, err)
	require.True(t, full.Full)
	require.Empty(t, full.Routes)

	a, err := h.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "good", Namespace: "a"})
	require.NoError(t, err)
	active := func(epoch uint64) func(*understudyv1.Route) bool {
		return func(r *understudyv1.Route) bool {
			return r.Epoch == epoch && r.State == understudyv1.RouteState_ROUTE_STATE_ACTIVE
		}
	}
	for _, stream := range []service.Supervisor_WatchRoutesClient{all, one} {
		r := route(t, stream, a.ProcessId, active(1))
		require.Equal(t, a.Address, r.Address)
		require.Equal(t, "good", r.Pattern)
		require.Equal(t, "a", r.Namespace)
		require.Zero(t, r.DeathMonotonicNs)
		require.Equal(t, understudyv1.RouteReason_ROUTE_REASON_LAUNCH, r.Reason)
	}

	killed, err := h.supervisor.SignalWorker(ctx, &understudyv1.SignalWorkerRequest{ProcessId: a.ProcessId, Signal: int32(unix.SIGKILL)})
	require.NoError(t, err)
	r := route(t, one, a.ProcessId, active(2))
	require.Equal(t, a.Address, r.Address, "the address stays")
	require.Equal(t, understudyv1.RouteReason_ROUTE_REASON_FAILOVER, r.Reason)
	require.NotEqual(t, killed.Pid, r.Pid)
	require.Positive(t, r.DeathMonotonicNs)
	require.Greater(t, r.PublishedMonotonicNs, r.DeathMonotonicNs)
	require.Equal(t, fmt.Sprintf("%d %s 2\n", r.Pid, a.ProcessId), ask(t, a.Address))

	b, err := h.supervisor.GetBinding(ctx, &understudyv1.GetBindingRequest{ProcessId: a.ProcessId})
	require.NoError(t, err)
	require.EqualValues(t, 2, b.Epoch)
	require.EqualValues(t, 1, b.RestartCount)
	require.Equal(t, "namespace", b.Key.Level)
	require.Equal(t, r.Pid, b.Pid)

	_, err = h.launcher.TerminatePattern(ctx, &launcher.TerminateRequest{ProcessId: a.ProcessId, Force: true})
	require.NoError(t, err)
	r = route(t, one, a.ProcessId, func(r *understudyv1.Route) bool { return r.State == understudyv1.RouteState_ROUTE_STATE_GONE })
	require.Equal(t, understudyv1.RouteReason_ROUTE_REASON_TERMINATE, r.Reason)
}

func TestWatchEventsMissesNothingOnceItStands(t *testing.T) {
	h := open(t)
	ctx := soon(t)
	a, err := h.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "good", Namespace: "a"})
	require.NoError(t, err)
	stream, err := h.supervisor.WatchEvents(ctx, &understudyv1.WatchEventsRequest{})
	require.NoError(t, err)
	_, err = stream.Header() // comes when the subscription stands
	require.NoError(t, err)
	killed, err := h.supervisor.SignalWorker(ctx, &understudyv1.SignalWorkerRequest{ProcessId: a.ProcessId, Signal: int32(unix.SIGKILL)})
	require.NoError(t, err)
	var failover, exited *understudyv1.Event
	for failover == nil || exited == nil {
		e, err := stream.Recv()
		require.NoError(t, err)
		require.Zero(t, e.DroppedBefore)
		switch {
		case e.Kind == "failover":
			failover = e
		case e.Kind == "worker_exited" && e.Pid == killed.Pid:
			exited = e
		}
	}
	require.Equal(t, a.ProcessId, failover.ProcessId)
	require.EqualValues(t, 2, failover.Epoch)
	require.NotEmpty(t, failover.Facts["activate_us"])
	require.Contains(t, exited.Message, "SIGKILL")
}

func TestPoolsBindingsAndStatus(t *testing.T) {
	h := open(t)
	ctx := soon(t)
	_, err := h.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "good", Namespace: "a", Config: map[string]string{"k": "v"}})
	require.NoError(t, err)
	pools, err := h.supervisor.ListPools(ctx, &understudyv1.ListPoolsRequest{})
	require.NoError(t, err)
	require.Len(t, pools.Pools, 3)
	for _, p := range pools.Pools {
		require.EqualValues(t, 1, p.SparesMin)
		require.EqualValues(t, 2, p.SparesMax)
		if p.Pattern == "good" {
			require.EqualValues(t, 1, p.Active)
		}
	}
	bindings, err := h.supervisor.ListBindings(ctx, &understudyv1.ListBindingsRequest{})
	require.NoError(t, err)
	require.Len(t, bindings.Bindings, 1)
	require.Equal(t, map[string]string{"k": ""}, bindings.Bindings[0].Config, "the value may be a secret")
	require.True(t, bindings.Bindings[0].ConfigHidden)
	require.EqualValues(t, os.Geteuid(), bindings.Bindings[0].LaunchedByUid)
	require.Equal(t, "active", bindings.Bindings[0].State)
	bindings, err = h.supervisor.ListBindings(ctx, &understudyv1.ListBindingsRequest{ShowConfig: true})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"k": "v"}, bindings.Bindings[0].Config, "for who launched it")
	require.False(t, bindings.Bindings[0].ConfigHidden)
	s, err := h.supervisor.GetStatus(ctx, &understudyv1.GetStatusRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 1, s.Bindings)
	require.NotEmpty(t, s.Features)
	for _, f := range s.Features {
		require.NotEmpty(t, f.Name)
		require.True(t, f.Best || f.Why != "", "%s: why not the better one", f.Name)
	}
}

// When the supervisor stops, streams end with a status that says so.
func TestStreamsEndWhenTheSupervisorStops(t *testing.T) {
	h := open(t)
	routes, err := h.supervisor.WatchRoutes(context.Background(), &understudyv1.WatchRoutesRequest{})
	require.NoError(t, err)
	_, err = routes.Recv()
	require.NoError(t, err)
	events, err := h.supervisor.WatchEvents(context.Background(), &understudyv1.WatchEventsRequest{})
	require.NoError(t, err)
	_, err = events.Header()
	require.NoError(t, err)
	h.stop()
	for err == nil {
		_, err = routes.Recv()
	}
	require.Equal(t, codes.Unavailable, status.Code(err), err)
	require.ErrorContains(t, err, "supervisor is stopping")
	for err = nil; err == nil; {
		_, err = events.Recv()
	}
	require.Equal(t, codes.Unavailable, status.Code(err), err)
}
