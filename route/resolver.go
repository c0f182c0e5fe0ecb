package route

import (
	"errors"
	"fmt"
	"net/url"

	"google.golang.org/grpc/resolver"
)

// Scheme is that of the targets that Table.Resolver resolves.
const Scheme = "understudy"

// Target is the gRPC target of a key: understudy:///<pattern>?namespace=…&session=….
func Target(k Key) string {
	q := url.Values{}
	if k.Namespace != "" {
		q.Set("namespace", k.Namespace)
	}
	if k.Session != "" {
		q.Set("session", k.Session)
	}
	u := url.URL{Scheme: Scheme, Path: "/" + k.Pattern, RawQuery: q.Encode()}
	return u.String()
}

// keyOfTarget is the reverse of Target.
func keyOfTarget(u url.URL) (k Key, err error) {
	if len(u.Path) < 2 {
		return k, errors.New("no pattern in it")
	}
	k.Pattern = u.Path[1:]
	if u.Host != "" {
		return k, fmt.Errorf("%q stands where nothing should; write %s:///%s", u.Host, Scheme, k.Pattern)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return k, err
	}
	for name, values := range q {
		to := map[string]*string{"namespace": &k.Namespace, "session": &k.Session}[name]
		switch {
		case to == nil:
			return k, fmt.Errorf("%q is neither namespace nor session", name)
		case len(values) > 1:
			return k, fmt.Errorf("%s is given %d times", name, len(values))
		case values[0] == "":
			return k, fmt.Errorf("%s is empty", name)
		}
		*to = values[0]
	}
	return k, nil
}

// Resolver is for grpc.WithResolvers. Targets are understudy:///<pattern>,
// alone or with ?namespace= or ?session= or both; see Key for what each means.
// Calls fail with UNAVAILABLE while there is no such route, and wait while it
// has no worker.
func (t *Table) Resolver() resolver.Builder { return builder{t} }

type builder struct{ table *Table }

func (builder) Scheme() string { return Scheme }

// Build begins to follow the target's route.
func (b builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	key, err := keyOfTarget(target.URL)
	if err != nil {
		return nil, fmt.Errorf("route: target %s: %w", target.URL.String(), err)
	}
	r := &follower{sub: b.table.Subscribe(key), cc: cc, ended: make(chan struct{})}
	go r.follow()
	return r, nil
}

// follower keeps one gRPC channel at the address of its binding.
type follower struct {
	sub   *Subscription
	cc    resolver.ClientConn
	ended chan struct{}
}

func (f *follower) follow() {
	defer close(f.ended)
	var address string
	for r := range f.sub.Updates() {
		switch {
		case r.State == Gone:
			if address != "" {
				// With this gRPC gives up the address, and calls it an error.
				_ = f.cc.UpdateState(resolver.State{})
			}
			address = ""
			f.cc.ReportError(noRoute(r)) // what calls get
		case r.Address != address:
			address = r.Address
			// An error means that the channel is closing.
			_ = f.cc.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: address}}})
		}
		// Another epoch at the same address is the connection's affair.
	}
}

func noRoute(r *Route) error {
	if r.Failed {
		return fmt.Errorf("%s has failed", r.ProcessID)
	}
	return fmt.Errorf("no route to %s", r.ProcessID)
}

// ResolveNow has nothing to do: what there is to know is known.
func (*follower) ResolveNow(resolver.ResolveNowOptions) {}

// Close ends the following.
func (f *follower) Close() {
	f.sub.Close()
	<-f.ended
}
