// Package api is the supervisor's gRPC face: prism.launcher.PatternLauncher and
// understudy.v1.Supervisor, with health and reflection, on one TCP port of
// 127.0.0.1 and on a unix socket. It translates; what is asked for is done by
// Core.
//
//	server.go      the server and its bounds
//	launcher.go    the launcher's service
//	supervisor.go  the supervisor's service
//	segments.go    its shared memory
//	status.go      errors to status codes
//	messages.go    bindings, routes, events and pools to messages
package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"understudy/internal/observe"
	"understudy/isolation"
	"understudy/pool"
	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
	"understudy/shmregistry"
)

// Core does what the services are asked for: methods of *isolation.Manager,
// whose errors stand there, of *shmregistry.Registry, and Status.
type Core interface {
	Acquire(ctx context.Context, r isolation.AcquireRequest) (isolation.Binding, error)
	Release(ctx context.Context, processID string, o isolation.ReleaseOptions) error
	Lookup(processID string) (isolation.Binding, bool)
	List() []isolation.Binding
	Watch(pattern string) *isolation.Watcher
	Signal(ctx context.Context, processID string, sig unix.Signal) (pid int, err error)
	Pools() []pool.Stats
	Status() *understudyv1.SupervisorStatus
	Segments(processID string) []shmregistry.Entry
	SweepSegments(dryRun bool) ([]shmregistry.Entry, error)
}

// Options says where the API is served.
type Options struct {
	// Port on 127.0.0.1; 0 takes a free one, below 0 there is none.
	Port int
	// Socket is the path of the unix socket. What lies there is replaced: the
	// caller holds the lock on its directory.
	Socket string
	// Mode is the permission bits of the socket.
	Mode fs.FileMode
	// Access says who may call.
	Access Access
	// Watchers bounds the streams of routes and events together; 0: no limit.
	Watchers int
	// Log gets the calls that end with Internal.
	Log *slog.Logger
}

// Bounds on what clients may take.
const (
	// maxRequest is the size of a request: a launch's config is the largest
	// part of any, at most 32 KiB.
	maxRequest = 256 << 10
	// maxResponse is the size of a response: some thousand bindings.
	maxResponse = 64 << 20
	// maxStreams is the calls at once on one connection.
	maxStreams = 1024

	connectTimeout = 5 * time.Second
	// A client that vanished is found after pingAfter and pingTimeout.
	pingAfter   = 15 * time.Second
	pingTimeout = 5 * time.Second
	// minPing is how often clients may ping us.
	minPing = time.Second
	// stopTimeout is for calls under way when the server stops.
	stopTimeout = 2 * time.Second
)

// Server serves the API from Listen to Stop.
type Server struct {
	grpc       *grpc.Server
	health     *health.Server
	supervisor *supervisorService
	tcp        net.Listener // nil where it is off
	unix       *socketListener
	access     Access
	log        *slog.Logger
	socket     string
	closing    context.Context
	close      context.CancelFunc
}

// Listen opens the port and the socket, so that errors come now. Connections
// wait until Serve.
func Listen(o Options, core Core, events *observe.Hub) (*Server, error) {
	var tcp net.Listener // nil: off
	if o.Port >= 0 {
		var err error
		if tcp, err = net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port))); err != nil {
			return nil, fmt.Errorf("API: %w", err)
		}
	}
	group := -1
	if o.Access.Group != nil {
		group = int(*o.Access.Group)
	}
	socket, err := listenSocket(o.Socket, o.Mode, group)
	if err != nil {
		if tcp != nil {
			tcp.Close()
		}
		return nil, fmt.Errorf("API: %w", err)
	}
	denied := func(why error) { o.Log.Warn("caller is refused", "reason", why) }
	s := &Server{tcp: tcp, unix: socket, access: o.Access, log: o.Log, socket: o.Socket, health: health.NewServer(), grpc: grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxSendMsgSize(maxResponse),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.Creds(&localCredentials{access: o.Access, denied: denied}),
		grpc.InTapHandle(authorize),
		grpc.ChainUnaryInterceptor(busyUnary, logInternal(o.Log)),
		grpc.StreamInterceptor(busyStream),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	)}
	s.closing, s.close = context.WithCancel(context.Background())
	launcher.RegisterPatternLauncherServer(s.grpc, &launcherService{core: core, begun: time.Now()})
	s.supervisor = &supervisorService{core: core, events: events, closing: s.closing, access: o.Access, watchers: int64(o.Watchers)}
	service.RegisterSupervisorServer(s.grpc, s.supervisor)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	reflection.Register(s.grpc)
	return s, nil
}

// logInternal logs what the client's request is not to blame for.
func logInternal(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, r any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		a, err := next(ctx, r)
		if status.Code(err) == codes.Internal {
			log.Warn("call failed", "method", info.FullMethod, "error", err)
		}
		return a, err
	}
}

// Addr is the TCP address as host:port, "" where TCP is off.
func (s *Server) Addr() string {
	if s.tcp == nil {
		return ""
	}
	return s.tcp.Addr().String()
}

func (s *Server) listeners() []net.Listener {
	if s.tcp == nil {
		return []net.Listener{s.unix}
	}
	return []net.Listener{s.tcp, s.unix}
}

// Watchers is how many streams of routes and events there are.
func (s *Server) Watchers() isolation.Limit {
	return isolation.Limit{Name: "watchers", Used: int(s.supervisor.watching.Load()), Max: int(s.supervisor.watchers), Refused: s.supervisor.refused.Load()}
}

// Socket is the path of the unix socket.
func (s *Server) Socket() string { return s.socket }

// Serve serves until Stop, or until one of the listeners fails.
func (s *Server) Serve() error {
	go s.keepSocket()
	all := s.listeners()
	ended := make(chan error, len(all))
	for _, l := range all {
		go func() {
			err := s.grpc.Serve(admitted{l, newConnections(s.access)})
			if errors.Is(err, grpc.ErrServerStopped) {
				err = nil // Stop came first
			}
			ended <- err
		}()
	}
	err := <-ended
	s.Stop()
	for range all[1:] {
		err = errors.Join(err, <-ended)
	}
	return err
}

// socketPause is the time between two looks whether the socket's path is there.
const socketPause = 2 * time.Second

// keepSocket makes the unix socket anew where its path has vanished, until Stop.
func (s *Server) keepSocket() {
	for {
		select {
		case <-s.closing.Done():
			return
		case <-time.After(socketPause):
		}
		switch made, err := s.unix.again(); {
		case err != nil:
			s.log.Error("the API's socket has vanished and cannot be made again", "socket", s.socket, "error", err)
		case made:
			s.log.Warn("the API's socket had vanished; made it again", "socket", s.socket)
		}
	}
}

// Stop ends the streams, lets other calls under way finish for a moment, and
// closes the listeners.
func (s *Server) Stop() {
	s.health.Shutdown()
	s.close()
	hard := time.AfterFunc(stopTimeout, s.grpc.Stop)
	defer hard.Stop()
	s.grpc.GracefulStop()
	for _, l := range s.listeners() {
		l.Close() // where Serve was never called
	}
}
