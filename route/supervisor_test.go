package route_test

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"understudy/internal/monotime"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
	"understudy/route"
)

// patience is how long anything may take here before the test gives up.
const patience = 20 * time.Second

// within is a context for what must not take longer than patience.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// supervisor serves WatchRoutes, and vanishes and comes back as no real one
// does on command.
type supervisor struct {
	service.UnimplementedSupervisorServer
	t      testing.TB
	socket string
	server *grpc.Server
	served chan error

	mu      sync.Mutex
	routes  map[string]*understudyv1.Route
	streams map[chan *understudyv1.RoutesUpdate]struct{}
}

// backlog is more updates than any test leaves unsent.
const backlog = 1024

func newSupervisor(t testing.TB, routes ...*understudyv1.Route) *supervisor {
	s := &supervisor{t: t, socket: filepath.Join(t.TempDir(), "api.sock"),
		routes: make(map[string]*understudyv1.Route), streams: make(map[chan *understudyv1.RoutesUpdate]struct{})}
	for _, r := range routes {
		s.routes[r.ProcessId] = r
	}
	s.appear()
	t.Cleanup(s.vanish)
	return s
}

func (s *supervisor) target() string { return "unix://" + s.socket }

func (s *supervisor) appear() {
	l, err := net.Listen("unix", s.socket)
	require.NoError(s.t, err)
	s.server = grpc.NewServer()
	service.RegisterSupervisorServer(s.server, s)
	s.served = make(chan error, 1)
	go func(server *grpc.Server) { s.served <- server.Serve(l) }(s.server)
}

// vanish ends every stream in the middle.
func (s *supervisor) vanish() {
	if s.server != nil {
		s.server.Stop()
		<-s.served
		s.server = nil
	}
}

func (s *supervisor) WatchRoutes(r *understudyv1.WatchRoutesRequest, stream grpc.ServerStreamingServer[understudyv1.RoutesUpdate]) error {
	updates := make(chan *understudyv1.RoutesUpdate, backlog)
	full := &understudyv1.RoutesUpdate{Full: true, Revision: 1}
	s.mu.Lock()
	for _, one := range s.routes {
		if r.Pattern == "" || r.Pattern == one.Pattern {
			full.Routes = append(full.Routes, proto.CloneOf(one))
		}
	}
	s.streams[updates] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, updates)
		s.mu.Unlock()
	}()
	if err := stream.Send(full); err != nil {
		return err
	}
	for {
		select {
		case u := <-updates:
			if err := stream.Send(u); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// publish sends a change to every stream and keeps it for those to come.
func (s *supervisor) publish(r *understudyv1.Route) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.State == understudyv1.RouteState_ROUTE_STATE_GONE {
		delete(s.routes, r.ProcessId)
	} else {
		s.routes[r.ProcessId] = r
	}
	for updates := range s.streams {
		updates <- &understudyv1.RoutesUpdate{Routes: []*understudyv1.Route{proto.CloneOf(r)}}
	}
}

// now is the supervisor's clock.
func now() int64 { return monotime.Now() }

// active is the route of a namespace's echo with a worker that answers. Its
// times are of this machine, as published now.
func active(namespace string, epoch uint64) *understudyv1.Route {
	return &understudyv1.Route{
		ProcessId: "ns:" + namespace + ":echo", Pattern: "echo", Namespace: namespace,
		Address: "unix:///nowhere/" + namespace + ".sock", Epoch: epoch, Pid: 100 + int32(epoch),
		State: understudyv1.RouteState_ROUTE_STATE_ACTIVE, Reason: understudyv1.RouteReason_ROUTE_REASON_LAUNCH,
		PublishedMonotonicNs: now(), Published: timestamppb.Now(),
	}
}

// at is a route with another address.
func at(r *understudyv1.Route, address string) *understudyv1.Route {
	r = proto.CloneOf(r)
	r.Address = address
	return r
}

// failover is the route that follows r and the death of its worker.
func failover(r *understudyv1.Route, death int64) *understudyv1.Route {
	r = proto.CloneOf(r)
	r.Epoch++
	r.Reason = understudyv1.RouteReason_ROUTE_REASON_FAILOVER
	r.DeathMonotonicNs, r.PublishedMonotonicNs, r.Published = death, now(), timestamppb.Now()
	return r
}

func gone(r *understudyv1.Route, reason understudyv1.RouteReason) *understudyv1.Route {
	r = proto.CloneOf(r)
	r.State, r.Reason = understudyv1.RouteState_ROUTE_STATE_GONE, reason
	r.PublishedMonotonicNs, r.Published = now(), timestamppb.Now()
	return r
}

// dialed follows a supervisor until the end of the test.
func dialed(t testing.TB, target string, opts ...route.Option) *route.Table {
	t.Helper()
	table, err := route.Dial(within(t), target, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, table.Close()) })
	return table
}

// until waits for the route of a key to be as wanted.
func until(t testing.TB, table *route.Table, k route.Key, wanted func(*route.Route) bool) *route.Route {
	t.Helper()
	s := table.Subscribe(k)
	defer s.Close()
	var last *route.Route
	for {
		select {
		case r, ok := <-s.Updates():
			require.True(t, ok, "table closed")
			if last = r; wanted(r) {
				return r
			}
		case <-time.After(patience):
			require.FailNow(t, "route does not become as wanted", "it is %+v", last)
		}
	}
}

func isGone(r *route.Route) bool { return r.State == route.Gone }

func atEpoch(epoch uint64) func(*route.Route) bool {
	return func(r *route.Route) bool { return r.State == route.Active && r.Epoch == epoch }
}
