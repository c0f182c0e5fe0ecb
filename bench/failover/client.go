package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/bench/internal/outage"
	"understudy/patterns/echo/echov1"
	"understudy/route"
)

// The clients.
const (
	// firstByte makes a bare connection for each request, which is over at its first byte.
	firstByte = "byte"
	// fresh makes a gRPC connection for each request.
	fresh = "fresh"
	// channel has one ordinary gRPC channel, which knows nothing of us.
	channel = "channel"
	// routed has one channel made by the SDK for proxies.
	routed = "route"
	// retried is routed, and has gRPC repeat what failed.
	retried = "route+retry"
)

// where is what a client must know of a binding.
type where struct {
	api       string // of the supervisor
	namespace string
	address   string // of the binding
}

func newClient(ctx context.Context, kind string, w where) (outage.Client, error) {
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	switch kind {
	case firstByte:
		return newByteClient(w.address)
	case fresh:
		return freshClient{w.address}, nil
	case channel:
		conn, err := grpc.NewClient(w.address, plain)
		if err != nil {
			return nil, err
		}
		return &channelClient{conn: conn}, nil
	case routed, retried:
		table, err := route.Dial(ctx, w.api)
		if err != nil {
			return nil, err
		}
		if err := table.Synced(ctx); err != nil {
			table.Close()
			return nil, err
		}
		var options []grpc.DialOption
		if kind == retried {
			policy, err := route.RetryPolicy(echov1.Echo_ServiceDesc.ServiceName)
			if err != nil {
				table.Close()
				return nil, err
			}
			options = append(options, grpc.WithDefaultServiceConfig(policy))
		}
		conn, err := table.NewClient(route.Target(route.Key{Pattern: pattern, Namespace: w.namespace}), options...)
		if err != nil {
			table.Close()
			return nil, err
		}
		return &channelClient{conn: conn, table: table}, nil
	}
	return nil, fmt.Errorf("client %q is not known", kind)
}

type freshClient struct{ address string }

func (c freshClient) Ask(ctx context.Context) (int, error) {
	conn, err := grpc.NewClient(c.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return say(ctx, conn)
}

func (freshClient) Close() error { return nil }

type channelClient struct {
	conn  *grpc.ClientConn
	table *route.Table // nil for an ordinary channel
}

func (c *channelClient) Ask(ctx context.Context) (int, error) { return say(ctx, c.conn) }

func (c *channelClient) Close() error {
	err := c.conn.Close()
	if c.table != nil {
		c.table.Close()
	}
	return err
}

func say(ctx context.Context, conn grpc.ClientConnInterface) (int, error) {
	r, err := echov1.NewEchoClient(conn).Say(ctx, &echov1.SayRequest{})
	if err != nil {
		return 0, err
	}
	return int(r.Pid), nil
}
