package main

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"understudy/proto/prism/launcher"
	"understudy/route"
)

// maxClients bounds the bindings that are connected to at once.
const maxClients = 4096

type proxy struct {
	pattern  string
	policy   string // gRPC's service config with the retries
	table    *route.Table
	launcher launcher.PatternLauncherClient

	mu      sync.Mutex
	clients map[route.Key]*grpc.ClientConn
}

// keyOf reads from a call's metadata which binding it is for.
func (p *proxy) keyOf(md metadata.MD) route.Key {
	return route.Key{Pattern: p.pattern, Namespace: strings.Join(md.Get("x-namespace"), ""),
		Session: strings.Join(md.Get("x-session"), "")}
}

// handle is every call of every service.
func (p *proxy) handle(_ any, in grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(in)
	md, _ := metadata.FromIncomingContext(in.Context())
	k := p.keyOf(md)
	bound := p.table.Lookup(k) != nil
	if !bound {
		if err := p.launch(in.Context(), k); err != nil {
			return err
		}
	}
	cc, err := p.client(k)
	if err != nil {
		return err
	}
	// Just launched, cc may know it a moment later than the table.
	return forward(in, cc, method, md, grpc.WaitForReady(!bound))
}

// launch asks the supervisor to bind k. Launching what is bound already is no harm.
func (p *proxy) launch(ctx context.Context, k route.Key) error {
	level := launcher.IsolationLevel_ISOLATION_NONE
	switch {
	case k.Session != "":
		level = launcher.IsolationLevel_ISOLATION_SESSION
	case k.Namespace != "":
		level = launcher.IsolationLevel_ISOLATION_NAMESPACE
	}
	if _, err := p.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: k.Pattern, Isolation: level,
		Namespace: k.Namespace, SessionId: k.Session}); err != nil {
		return err
	}
	if _, err := p.table.Await(ctx, k); err != nil {
		return status.Errorf(codes.Unavailable, "launched, but without a route: %v", err)
	}
	return nil
}

// client returns the connection for k, which outlives its workers.
func (p *proxy) client(k route.Key) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cc := p.clients[k]; cc != nil {
		return cc, nil
	}
	if len(p.clients) >= maxClients { // a real proxy would close those of routes that are gone
		return nil, status.Errorf(codes.ResourceExhausted, "%d bindings are connected to", len(p.clients))
	}
	cc, err := p.table.NewClient(route.Target(k), grpc.WithDefaultServiceConfig(p.policy))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	p.clients[k] = cc
	return cc, nil
}

func (p *proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cc := range p.clients {
		cc.Close()
	}
}
