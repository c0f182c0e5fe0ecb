package route

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/route/reserve"
)

const (
	// The wait after a failed attempt to connect. The address is local and
	// queues connections when no worker is there, so a failure is an accident
	// at a death, not an overload.
	leastRedial = time.Millisecond
	mostRedial  = time.Second
	// connectTimeout is for an attempt, which waits in the backlog as long as
	// the binding has no worker. Calls have their own deadlines.
	connectTimeout = 10 * time.Minute
)

// NewClient makes a gRPC client for a target such as that of Target. It
// connects at once, and again whenever its connection ends, not only with the
// next call; it has a second connection in reserve for that, unless the table
// was made WithoutReserve. It speaks without TLS, to a local address; opts come after what it sets
// and can change it. When the table is closed, the client keeps the address it
// has.
func (t *Table) NewClient(target string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	all := []grpc.DialOption{
		grpc.WithResolvers(t.Resolver()),
		t.DialOption(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: leastRedial, Multiplier: 1.6, Jitter: 0.2, MaxDelay: mostRedial},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithIdleTimeout(0), // never idle: it would have to connect first
	}
	if !t.noReserve {
		all = append(all, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"`+reserve.Policy+`": {}}]}`))
	}
	all = append(all, opts...)
	cc, err := grpc.NewClient(target, all...)
	if err != nil {
		return nil, fmt.Errorf("route: client for %s: %w", target, err)
	}
	go stayConnected(cc)
	return cc, nil
}

// stayConnected ends when cc is closed.
func stayConnected(cc *grpc.ClientConn) {
	for {
		state := cc.GetState()
		switch state {
		case connectivity.Shutdown:
			return
		case connectivity.Idle:
			cc.Connect()
		}
		cc.WaitForStateChange(context.Background(), state)
	}
}
