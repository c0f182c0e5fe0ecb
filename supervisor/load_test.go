package supervisor_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"understudy/patterns/echo/echov1"
)

// cutSlack is how long after we heard of a worker's end its client may still
// send a request into the connection that died with it.
const cutSlack = 150 * time.Millisecond

// tenant is one binding as its clients see it.
type tenant struct {
	t         *testing.T
	processID string
	address   string
	answered  atomic.Int64
	newest    atomic.Uint64 // the highest epoch that answered

	mu     sync.Mutex
	pids   map[uint64]int32 // who answered for an epoch
	failed []request
	wrong  []string
}

// request is one that failed.
type request struct {
	client   string
	from, to time.Time
	err      error
}

func (r request) String() string {
	return fmt.Sprintf("%s: %s for %v: %v", r.client, r.from.Format("05.000000"), r.to.Sub(r.from), r.err)
}

func newTenant(t *testing.T, processID, address string) *tenant {
	return &tenant{t: t, processID: processID, address: address, pids: map[uint64]int32{}}
}

// connect returns a channel to the tenant's address, by grpc's own means.
func (tn *tenant) connect(opts ...grpc.DialOption) *grpc.ClientConn {
	quick := backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 50 * time.Millisecond}
	conn, err := grpc.NewClient(tn.address, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quick, MinConnectTimeout: patience}))...)
	require.NoError(tn.t, err)
	return conn
}

// once returns a channel that connects only once: it speaks to one worker.
func (tn *tenant) once() *grpc.ClientConn {
	var dialed atomic.Bool
	return tn.connect(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, fmt.Errorf("this channel connects once")
		}
		network, address := "tcp", tn.address
		if path, ok := strings.CutPrefix(address, "unix://"); ok {
			network, address = "unix", path
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}))
}

// say sends one request and keeps account of it.
func (tn *tenant) say(client string, conn *grpc.ClientConn) {
	floor := tn.newest.Load()
	payload := []byte(client + tn.processID)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	from := time.Now()
	r, err := echov1.NewEchoClient(conn).Say(ctx, &echov1.SayRequest{Payload: payload}, grpc.WaitForReady(true))
	to := time.Now()
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if err != nil {
		tn.failed = append(tn.failed, request{client, from, to, err})
		return
	}
	tn.answered.Add(1)
	pid, known := tn.pids[r.Epoch]
	tn.pids[r.Epoch] = r.Pid
	tn.newest.Store(max(tn.newest.Load(), r.Epoch))
	switch {
	case r.ProcessId != tn.processID:
		tn.wrong = append(tn.wrong, "answer of "+r.ProcessId)
	case !bytes.Equal(r.Payload, payload):
		tn.wrong = append(tn.wrong, "another's payload")
	case r.Epoch < floor:
		tn.wrong = append(tn.wrong, fmt.Sprintf("epoch %d answered after %d had", r.Epoch, floor))
	case known && pid != r.Pid:
		tn.wrong = append(tn.wrong, fmt.Sprintf("pids %d and %d answered for epoch %d", pid, r.Pid, r.Epoch))
	}
}

// load is concurrent clients of every tenant: two that keep their channel and
// one that opens a new one for each request.
type load struct {
	stop    context.CancelFunc
	clients sync.WaitGroup
	once    sync.Once
}

// clientPause keeps the clients from taking the machine from whom they test.
const clientPause = 3 * time.Millisecond

func startLoad(t *testing.T, tenants []*tenant) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel}
	t.Cleanup(l.end)
	for _, tn := range tenants {
		for _, name := range []string{"kept 1", "kept 2", "fresh"} {
			l.clients.Go(func() {
				conn := tn.connect()
				defer func() { conn.Close() }()
				ticker := time.NewTicker(clientPause)
				defer ticker.Stop()
				for ctx.Err() == nil {
					if name == "fresh" {
						conn.Close()
						conn = tn.connect()
					}
					tn.say(name, conn)
					<-ticker.C
				}
			})
		}
	}
	return l
}

// end waits for what is in flight.
func (l *load) end() {
	l.once.Do(l.stop)
	l.clients.Wait()
}

// account checks what the tenant's clients saw against the deaths of its
// workers: who failed was in flight at one, each death failed at most one
// request of a client (they send one after the other), and all at once.
func (tn *tenant) account(deaths []death) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if len(tn.wrong) > 0 {
		tn.t.Errorf("%s: %d wrong answers, such as %s", tn.processID, len(tn.wrong), tn.wrong[0])
	}
	used := map[string]map[int]bool{}
	for _, r := range tn.failed {
		if status.Code(r.err) != codes.Unavailable {
			tn.t.Errorf("%s: failed otherwise than by a cut: %v", tn.processID, r)
		}
		if used[r.client] == nil {
			used[r.client] = map[int]bool{}
		}
		blamed := false
		for i, d := range deaths {
			if d.processID == tn.processID && !used[r.client][i] && !d.from().IsZero() &&
				r.to.After(d.from()) && r.from.Before(d.exited.Add(cutSlack)) {
				used[r.client][i], blamed = true, true
				break
			}
		}
		if !blamed {
			tn.t.Errorf("%s: failed without a death: %v", tn.processID, r)
		}
	}
}

// answers checks that the binding answers now, on a new connection.
func (tn *tenant) answers() {
	tn.t.Helper()
	before := tn.answered.Load()
	conn := tn.connect()
	defer conn.Close()
	tn.say("last", conn)
	tn.mu.Lock() // others may be asking at the same time
	defer tn.mu.Unlock()
	require.Greater(tn.t, tn.answered.Load(), before, "%s does not answer: %v", tn.processID, tn.failed)
}
