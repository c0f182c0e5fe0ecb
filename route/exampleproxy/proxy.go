package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/singleflight"
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
	launches singleflight.Group

	mu      sync.Mutex
	clients map[route.Key]*grpc.ClientConn
}

// keyOf reads from a call's metadata whom it is for.
func (p *proxy) keyOf(md metadata.MD) route.Key {
	first := func(name string) string {
		if v := md.Get(name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	return route.Key{Pattern: p.pattern, Namespace: first("x-namespace"), Session: first("x-session")}
}

// handle is every call of every service.
func (p *proxy) handle(_ any, in grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(in)
	md, _ := metadata.FromIncomingContext(in.Context())
	k := p.keyOf(md)
	if p.table.Lookup(k) == nil {
		if err := p.launch(in.Context(), k); err != nil {
			return err
		}
	}
	cc, err := p.client(k)
	if err != nil {
		return err
	}
	return forward(in, cc, method, md)
}

// launch has the supervisor bind k, once for all who ask at the same time.
func (p *proxy) launch(ctx context.Context, k route.Key) error {
	r := &launcher.LaunchRequest{PatternName: k.Pattern, Namespace: k.Namespace, SessionId: k.Session}
	switch {
	case k.Session != "":
		r.Isolation = launcher.IsolationLevel_ISOLATION_SESSION
	case k.Namespace != "":
		r.Isolation = launcher.IsolationLevel_ISOLATION_NAMESPACE
	default:
		r.Isolation = launcher.IsolationLevel_ISOLATION_NONE
	}
	done := p.launches.DoChan(k.ProcessID(), func() (any, error) {
		// The caller that came first may leave; the launch is for all.
		return p.launcher.LaunchPattern(context.WithoutCancel(ctx), r)
	})
	select {
	case l := <-done:
		if l.Err != nil {
			return l.Err
		}
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
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
	if len(p.clients) >= maxClients {
		for old, cc := range p.clients {
			if p.table.Lookup(old) == nil {
				cc.Close()
				delete(p.clients, old)
			}
		}
	}
	if len(p.clients) >= maxClients {
		return nil, status.Errorf(codes.ResourceExhausted, "%d bindings are connected to", len(p.clients))
	}
	var opts []grpc.DialOption
	if p.policy != "" {
		opts = append(opts, grpc.WithDefaultServiceConfig(p.policy))
	}
	cc, err := p.table.NewClient(route.Target(k), opts...)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	p.clients[k] = cc
	return cc, nil
}

func (p *proxy) close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, cc := range p.clients {
		if e := cc.Close(); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", k.ProcessID(), e))
		}
	}
	return err
}
