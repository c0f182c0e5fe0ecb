package route

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"understudy/internal/procid"
	"understudy/proto/understudy/v1/service"
)

// Table is the routes of one supervisor, followed from Dial or New until Close.
// Its methods may be called from any goroutine. It holds what the supervisor
// holds, which bounds its size.
type Table struct {
	seed      maphash.Seed
	index     atomic.Pointer[index]
	log       *slog.Logger
	noReserve bool

	cancel context.CancelFunc
	ended  chan struct{}    // closed when the stream's goroutine is gone
	owned  *grpc.ClientConn // nil if the connection is the caller's

	synced chan struct{} // closed with the first full state

	// mu guards what follows, the index's writes, and what entries say is
	// under it. It is held for memory operations only.
	mu        sync.Mutex
	byAddress map[string]*entry
	round     uint64 // counts full states
	full      bool   // the first one is complete
	closed    bool
	stats     Stats
}

// entry is one binding that is or was in the table, or that somebody waits for.
// What a look-up reads comes first.
type entry struct {
	hash     uint64
	route    atomic.Pointer[Route] // nil: gone
	identity identity
	*interest
}

// interest is what there is to do when a route changes. Under Table.mu.
type interest struct {
	round uint64 // the last full state that had it
	subs  []*Subscription
	births
}

// Stats is how a table does.
type Stats struct {
	// Routes that answer or wait.
	Routes int
	// Revision of the supervisor's table that this one has reached.
	Revision uint64
	// Connected: the stream is up, so the routes are those of now.
	Connected bool
	// Streams counts the times that a stream was up; one more than reconnects.
	Streams uint64
	// Malformed counts routes that were left out because they made no sense.
	Malformed uint64
	// Cut counts the connections cut because their worker died.
	Cut uint64
	// InReserve is how many of NewClient's clients could lose their connection
	// now and call through another at once.
	InReserve int
	// LastError is why the last stream ended, or could not begin.
	LastError error
}

// Option changes how a table is made.
type Option func(*options)

type options struct {
	pattern   string
	log       *slog.Logger
	dial      []grpc.DialOption
	noReserve bool
}

// WithPattern follows the routes of one pattern only.
func WithPattern(name string) Option { return func(o *options) { o.pattern = name } }

// WithoutReserve makes NewClient's clients have one connection, with gRPC's own
// load balancing policy. Calls then wait for the next one when a worker dies;
// docs/PACE.md has what that costs.
func WithoutReserve() Option { return func(o *options) { o.noReserve = true } }

// WithLogger logs when the connection to the supervisor comes and goes. The
// default logs nothing.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithDialOptions adds options to Dial's connection to the supervisor, such as
// credentials. The default is a connection without TLS.
func WithDialOptions(d ...grpc.DialOption) Option {
	return func(o *options) { o.dial = append(o.dial, d...) }
}

// New follows the routes of the supervisor at the other end of conn. It does
// not wait for them: see Synced.
func New(conn grpc.ClientConnInterface, opts ...Option) *Table {
	return start(conn, nil, optionsOf(opts))
}

func optionsOf(opts []Option) options {
	o := options{log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

func start(conn grpc.ClientConnInterface, owned *grpc.ClientConn, o options) *Table {
	ctx, cancel := context.WithCancel(context.Background())
	t := &Table{
		seed:      maphash.MakeSeed(),
		log:       o.log,
		noReserve: o.noReserve,
		cancel:    cancel,
		ended:     make(chan struct{}),
		owned:     owned,
		synced:    make(chan struct{}),
		byAddress: make(map[string]*entry),
	}
	t.index.Store(newIndex(0))
	go t.follow(ctx, service.NewSupervisorClient(conn), o.pattern)
	return t
}

// Close ends the stream and every subscription. Look-ups give the last routes
// from then on; connections stay open, and no longer end with their worker.
func (t *Table) Close() error {
	t.cancel()
	<-t.ended
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	if first {
		for e := range t.index.Load().all {
			for _, s := range e.subs {
				if e == s.entries[0] { // one may have two
					close(s.updates)
				}
			}
			e.subs = nil
		}
	}
	t.mu.Unlock()
	if first && t.owned != nil {
		return t.owned.Close()
	}
	return nil
}

// Lookup returns the route of a key, or nil if it has none.
func (t *Table) Lookup(k Key) *Route {
	if own, ok := k.own(); ok {
		if r := t.lookup(own); r != nil {
			return r
		}
	}
	return t.lookup(k.identity())
}

// LookupID returns the route of a process id, or nil if it has none.
func (t *Table) LookupID(processID string) *Route {
	i, ok := procid.Parse(processID)
	if !ok {
		return nil
	}
	return t.lookup(i)
}

func (t *Table) lookup(i identity) *Route {
	e := t.index.Load().find(hashOf(t.seed, i), i)
	if e == nil {
		return nil
	}
	return e.route.Load()
}

// Routes returns all routes, in no order.
func (t *Table) Routes() []*Route {
	var all []*Route
	for e := range t.index.Load().all {
		if r := e.route.Load(); r != nil {
			all = append(all, r)
		}
	}
	return all
}

// Stats returns the table's own figures.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

// Synced waits until the table has had the supervisor's full state once. It
// returns ctx's error, with what keeps the table from it, or ErrClosed.
func (t *Table) Synced(ctx context.Context) error {
	select {
	case <-t.synced:
		return nil
	case <-t.ended:
		select {
		case <-t.synced:
			return nil
		default:
			return ErrClosed
		}
	case <-ctx.Done():
	}
	if last := t.Stats().LastError; last != nil {
		return fmt.Errorf("route: no routes yet: %w (%w)", ctx.Err(), last)
	}
	return fmt.Errorf("route: no routes yet: %w", ctx.Err())
}

// entry returns the entry of i, made if it is missing. Under mu.
func (t *Table) entry(i identity) *entry {
	x, hash := t.index.Load(), hashOf(t.seed, i)
	if e := x.find(hash, i); e != nil {
		return e
	}
	e := &entry{identity: i, hash: hash, interest: new(interest)}
	if x.add(e) {
		t.index.Store(x.grow(func(o *entry) bool { return o == e || o.inUse() }))
	}
	return e
}

// inUse reports whether anybody needs the entry. Under mu.
func (e *entry) inUse() bool {
	return e.route.Load() != nil || len(e.subs) > 0 || len(e.conns) > 0
}
