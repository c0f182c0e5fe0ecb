package api

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"understudy/internal/principal"
)

// served serves health checks to connections that are known by of, and returns
// how to make one.
func served(t *testing.T, places *connections) (dial func() healthpb.HealthClient) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	server := grpc.NewServer(grpc.Creds(&localCredentials{access: places.access, denied: func(error) {}}),
		grpc.InTapHandle(authorize), grpc.ChainUnaryInterceptor(busyUnary))
	healthpb.RegisterHealthServer(server, health.NewServer())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(admitted{l, places}) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-ended)
	})
	return func() healthpb.HealthClient {
		conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return healthpb.NewHealthClient(conn)
	}
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// The kernel may take its time to say who connects. Others do not wait for it.
func TestASlowLookupHoldsUpNobody(t *testing.T) {
	places := newConnections(Access{})
	var first atomic.Bool
	asked, answer := make(chan struct{}), make(chan struct{})
	places.of = func(net.Conn) (principal.Principal, error) {
		if first.CompareAndSwap(false, true) {
			close(asked)
			<-answer
		}
		return principal.Principal{}, nil
	}
	dial := served(t, places)
	slow := make(chan error, 1)
	ctx := patient(t)
	go func() {
		_, err := dial().Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
		slow <- err
	}()
	<-asked
	for range 3 {
		_, err := dial().Check(ctx, &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
	}
	close(answer)
	require.NoError(t, <-slow)
}

// Connections that end before it is known who made them leave no token behind.
func TestTokensComeBack(t *testing.T) {
	places := newConnections(Access{})
	places.of = func(net.Conn) (principal.Principal, error) { return principal.Principal{}, errors.New("gone") }
	for range 3 * maxGreeting {
		a, b := net.Pipe()
		c := places.accepted(a)
		places.admit(c)
		require.NoError(t, c.Close())
		b.Close()
		d := places.accepted(a) // closed without a handshake
		_ = d.Close()
	}
	require.Empty(t, places.greeting)
	require.Empty(t, places.all)
}

// Whoever leaves more connections idle than there is room for does not lock out
// the next one, be it of the same user or another.
func TestIdleConnectionsLockOutNobody(t *testing.T) {
	places := newConnections(Access{Owner: 7})
	var uid atomic.Uint32
	places.of = func(net.Conn) (principal.Principal, error) { return principal.Principal{UID: uid.Load()}, nil }
	dial := served(t, places)
	ctx := patient(t)
	fill := func(user uint32, n int) {
		uid.Store(user)
		for range n {
			_, err := dial().Check(ctx, &healthpb.HealthCheckRequest{})
			require.NoError(t, err)
		}
	}
	fill(7, ownShare+20)
	for other := range uint32(6) {
		fill(100+other, otherShare+5)
	}
	fill(7, 1)
	places.mu.Lock()
	defer places.mu.Unlock()
	require.Equal(t, ownShare, places.byUser[7])
	require.Equal(t, othersShare, places.ofOthers)
	require.Zero(t, places.refused)
	require.Positive(t, places.idleEnded)
}
