package api

import (
	"context"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"understudy/internal/observe"
	"understudy/internal/principal"
	"understudy/isolation"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

// maxSignal is SIGRTMAX (signal(7)).
const maxSignal = 64

// supervisorService is understudy.v1.Supervisor.
type supervisorService struct {
	service.UnimplementedSupervisorServer
	core    Core
	events  *observe.Hub
	closing context.Context // done when streams must end
	access  Access
	// watchers bounds the streams of routes and events together; 0 is no limit.
	watchers int64
	watching atomic.Int64
	refused  atomic.Uint64
}

// watch takes the place of one more stream, until done is called.
func (s *supervisorService) watch() (done func(), err error) {
	if n := s.watching.Add(1); s.watchers > 0 && n > s.watchers {
		s.watching.Add(-1)
		s.refused.Add(1)
		return nil, status.Errorf(codes.ResourceExhausted, "limit is reached: %d watchers", s.watchers)
	}
	return func() { s.watching.Add(-1) }, nil
}

// streamContext ends with the stream or with the server, whichever is first.
func (s *supervisorService) streamContext(stream grpc.ServerStream) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(stream.Context())
	stop := context.AfterFunc(s.closing, func() { cancel(isolation.ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// ended is the status of a stream that next ended with err.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return toStatus(err)
}

// WatchRoutes implements service.SupervisorServer.
func (s *supervisorService) WatchRoutes(r *understudyv1.WatchRoutesRequest, stream grpc.ServerStreamingServer[understudyv1.RoutesUpdate]) error {
	done, err := s.watch()
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := s.streamContext(stream)
	defer cancel()
	w := s.core.Watch(r.GetPattern())
	defer w.Close()
	for {
		u, err := w.Next(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		if err := stream.Send(routesUpdate(u)); err != nil {
			return err
		}
	}
}

// WatchEvents implements service.SupervisorServer.
func (s *supervisorService) WatchEvents(_ *understudyv1.WatchEventsRequest, stream grpc.ServerStreamingServer[understudyv1.Event]) error {
	done, err := s.watch()
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := s.streamContext(stream)
	defer cancel()
	sub, err := s.events.Subscribe()
	if err != nil {
		return toStatus(err)
	}
	defer sub.Close()
	// Tells the client that from here on it misses nothing.
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	for {
		e, dropped, err := sub.Next(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		if err := stream.Send(eventMessage(e, dropped)); err != nil {
			return err
		}
	}
}

// ListPools implements service.SupervisorServer.
func (s *supervisorService) ListPools(context.Context, *understudyv1.ListPoolsRequest) (*understudyv1.ListPoolsResponse, error) {
	out := &understudyv1.ListPoolsResponse{}
	for _, p := range s.core.Pools() {
		out.Pools = append(out.Pools, poolMessage(p))
	}
	return out, nil
}

// GetBinding implements service.SupervisorServer.
func (s *supervisorService) GetBinding(ctx context.Context, r *understudyv1.GetBindingRequest) (*understudyv1.Binding, error) {
	b, ok := s.core.Lookup(r.GetProcessId())
	if !ok {
		return nil, unknown(r.GetProcessId())
	}
	m := bindingMessage(b)
	switch {
	case !r.GetShowConfig():
		hideConfig(m)
	case !s.seesConfig(ctx, b):
		return nil, status.Error(codes.PermissionDenied, "show_config: the config is for who launched the binding, for root and for the supervisor's user")
	}
	return m, nil
}

func (s *supervisorService) seesConfig(ctx context.Context, b isolation.Binding) bool {
	p, ok := principal.FromContext(ctx)
	return ok && s.access.seesConfig(p, b.LaunchedBy)
}

// ListBindings implements service.SupervisorServer.
func (s *supervisorService) ListBindings(ctx context.Context, r *understudyv1.ListBindingsRequest) (*understudyv1.ListBindingsResponse, error) {
	out := &understudyv1.ListBindingsResponse{}
	for _, b := range s.core.List() {
		m := bindingMessage(b)
		if !r.GetShowConfig() || !s.seesConfig(ctx, b) {
			hideConfig(m)
		}
		out.Bindings = append(out.Bindings, m)
	}
	return out, nil
}

// SignalWorker implements service.SupervisorServer.
func (s *supervisorService) SignalWorker(ctx context.Context, r *understudyv1.SignalWorkerRequest) (*understudyv1.SignalWorkerResponse, error) {
	if r.GetSignal() < 1 || r.GetSignal() > maxSignal {
		return nil, invalid("signal", "%d is not between 1 and %d", r.GetSignal(), maxSignal)
	}
	pid, err := s.core.Signal(ctx, r.GetProcessId(), unix.Signal(r.GetSignal()))
	if err != nil {
		return nil, toStatus(err)
	}
	return &understudyv1.SignalWorkerResponse{Pid: int32(pid)}, nil
}

// GetStatus implements service.SupervisorServer.
func (s *supervisorService) GetStatus(context.Context, *understudyv1.GetStatusRequest) (*understudyv1.SupervisorStatus, error) {
	return s.core.Status(), nil
}
