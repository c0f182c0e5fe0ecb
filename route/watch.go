package route

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

// ErrClosed: the table was closed.
var ErrClosed = errors.New("route: table closed")

var errNotFull = errors.New("first message is not the full state")

const (
	// The wait before the stream is tried again; half of it either way is
	// chance, so that a thousand proxies do not come at once.
	leastWait  = 20 * time.Millisecond
	mostWait   = time.Second
	waitSpread = 0.5
	// maxUpdate is the largest message: the full state. 64 MiB hold some
	// 200,000 routes.
	maxUpdate = 64 << 20
	// A supervisor whose machine vanished is found after pingAfter and
	// pingTimeout; one whose process ended, at once.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// Dial follows the routes of the supervisor at target, in gRPC's form, and waits
// for the first full state. ctx bounds that wait only.
func Dial(ctx context.Context, target string, opts ...Option) (*Table, error) {
	o := optionsOf(opts)
	wait := grpcbackoff.Config{BaseDelay: leastWait, Multiplier: 1.6, Jitter: 0.2, MaxDelay: mostWait}
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: wait, MinConnectTimeout: pingTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
	}, o.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("route: supervisor at %s: %w", target, err)
	}
	t := start(conn, conn, o)
	if err := t.Synced(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("supervisor at %s: %w", target, err), t.Close())
	}
	return t, nil
}

// follow keeps a stream open until ctx ends.
func (t *Table) follow(ctx context.Context, client service.SupervisorClient, pattern string) {
	defer close(t.ended)
	wait := backoff.ExponentialBackOff{InitialInterval: leastWait, MaxInterval: mostWait, Multiplier: 2, RandomizationFactor: waitSpread}
	for {
		was, err := t.stream(ctx, client, pattern)
		if ctx.Err() != nil {
			return
		}
		if was {
			wait.Reset()
			t.log.Warn("supervisor is away; the last routes go on", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// stream follows one stream to its end. was: it had brought the full state.
func (t *Table) stream(ctx context.Context, client service.SupervisorClient, pattern string) (was bool, err error) {
	defer func() {
		t.mu.Lock()
		t.stats.Connected = false
		t.stats.LastError = err
		t.mu.Unlock()
	}()
	ctx, cancel := context.WithCancel(ctx) // for returns before the stream's end
	defer cancel()
	routes, err := client.WatchRoutes(ctx, &understudyv1.WatchRoutesRequest{Pattern: pattern}, grpc.MaxCallRecvMsgSize(maxUpdate))
	if err != nil {
		return false, err
	}
	for {
		u, err := routes.Recv()
		if err != nil {
			return was, err
		}
		if !was && !u.GetFull() {
			return false, errNotFull
		}
		if !was {
			was = true
			t.connected()
		}
		t.update(u)
	}
}

func (t *Table) connected() {
	t.mu.Lock()
	t.stats.Connected = true
	t.stats.Streams++
	again := t.stats.Streams > 1
	t.mu.Unlock()
	if again {
		t.log.Info("supervisor is back")
	}
}
