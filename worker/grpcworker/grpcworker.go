package grpcworker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"understudy/internal/pace"
	"understudy/worker"
)

// Options is what a gRPC pattern consists of. Only Register is required.
type Options struct {
	// Warm does all work that need not wait for a key. config is the
	// manifest's.
	Warm func(ctx context.Context, config map[string]string) error
	// Register adds the pattern's services, after Warm.
	Register func(*grpc.Server)
	// Probe is the canary: it makes a small request of the pattern's own kind
	// over cc, a connection to the server from inside the process. It is
	// called once at the end of the warm-up, then for every probe of the
	// supervisor. By default it asks the health service for an answer.
	Probe func(ctx context.Context, cc grpc.ClientConnInterface) error
	// Activate learns the assignment before the first request of a client. It
	// is on the way of a failover: it should do next to nothing.
	Activate func(ctx context.Context, a *worker.Assignment) error
	// Server are options for the server. Its interceptors and handlers of
	// statistics see the calls of the rehearsal too, to the health service.
	Server []grpc.ServerOption
}

// Run is the life of the worker, as with worker.Run.
func Run(ctx context.Context, o Options) error {
	if o.Register == nil {
		return errors.New("grpcworker: Options.Register is not set")
	}
	if o.Probe == nil {
		o.Probe = askHealth
	}
	s, err := newServer(o)
	if err != nil {
		return err
	}
	defer s.close()
	return worker.Run(ctx, worker.Pattern{
		Warm:     s.warm,
		Rehearse: s.rehearse,
		Probe:    func(ctx context.Context) error { return o.Probe(ctx, s.client) },
		Serve:    s.serve,
	})
}

// server is a worker's gRPC server and the connection that its canary uses.
type server struct {
	options Options
	grpc    *grpc.Server
	health  *health.Server
	inside  *inside
	client  *grpc.ClientConn
	plain   bool // it speaks HTTP/2 with nothing around it
}

func newServer(o Options) (*server, error) {
	s := &server{options: o, grpc: grpc.NewServer(o.Server...), health: health.NewServer(), inside: newInside()}
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING) // until it is activated
	var err error
	s.client, err = grpc.NewClient("passthrough:///inside",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.inside.dial(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("grpcworker: connection to itself: %w", err)
	}
	return s, nil
}

func (s *server) close() {
	s.client.Close()
	s.grpc.Stop()
	s.inside.Close() // not closed by Stop if it was never served
}

func (s *server) warm(ctx context.Context, config map[string]string) error {
	if s.options.Warm != nil {
		if err := s.options.Warm(ctx, config); err != nil {
			return err
		}
	}
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.options.Register(s.grpc)
	go s.grpc.Serve(s.inside)
	if err := s.options.Probe(ctx, s.client); err != nil {
		return fmt.Errorf("first request: %w", err)
	}
	return nil
}

const (
	// rehearsals is how many clients are answered before the first real one,
	// and rehearsalTime what they may take together.
	rehearsals    = 20
	rehearsalTime = time.Second
)

// rehearse answers clients that connect as real ones do. They ask the health
// service, as the pattern's own requests may take long, and what it answers
// does not matter: whether the worker is fit is for the probe to say.
func (s *server) rehearse(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithTimeout(ctx, rehearsalTime)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(l) }()
	defer func() { l.Close(); <-served }() // which says that the listener is closed
	dial := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, l.Addr().Network(), l.Addr().String())
	})
	for range rehearsals {
		client, err := grpc.NewClient("passthrough:///rehearsal", dial, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		if answered(askHealth(ctx, client)) {
			s.plain = true
		}
		client.Close()
	}
	return nil
}

// answered reports whether the server heard a call, whatever it thought of it.
func answered(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return false // which gRPC itself may say
	}
	return true
}

// askHealth wants an answer of the health service, not a particular one: a
// standby is not serving.
func askHealth(ctx context.Context, cc grpc.ClientConnInterface) error {
	_, err := healthv1.NewHealthClient(cc).Check(ctx, &healthv1.HealthCheckRequest{})
	return err
}

func (s *server) serve(ctx context.Context, a *worker.Assignment) error {
	if s.options.Activate != nil {
		if err := s.options.Activate(ctx, a); err != nil {
			return err
		}
	}
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
	left := make(chan struct{})
	unasked := context.AfterFunc(ctx, func() {
		defer close(left)
		s.leave(a.Grace())
	})
	l := a.Listener()
	if s.plain && pace.FromEnvironment().On(pace.Greeter) {
		l = greeter{l}
	}
	err := s.grpc.Serve(l)
	if unasked() {
		return err
	}
	<-left
	return nil
}

// leave finishes the calls that are under way.
func (s *server) leave(grace time.Duration) {
	s.health.Shutdown()
	s.client.Close()
	// A little less than the grace period, for the rest to be told that they
	// are cut off.
	bound := time.AfterFunc(grace*9/10, s.grpc.Stop)
	defer bound.Stop()
	s.grpc.GracefulStop()
}
