package route

import (
	"context"
	"slices"
)

// Subscription is the changes of one route.
type Subscription struct {
	table   *Table
	entries []*entry    // which may have the route, the most particular first
	updates chan *Route // of one
}

// Subscribe follows the route of a key, which need not have one yet.
func (t *Table) Subscribe(k Key) *Subscription {
	s := &Subscription{table: t, updates: make(chan *Route, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		close(s.updates)
		return s
	}
	if own, ok := k.own(); ok {
		s.follow(own)
	}
	s.follow(k.identity())
	if r := s.route(); r != nil {
		s.deliver(r)
	} else if t.full {
		s.deliver(goneRoute(k.identity()))
	}
	return s
}

// follow adds a binding. Under Table.mu.
func (s *Subscription) follow(i identity) {
	e := s.table.entry(i)
	e.subs = append(e.subs, s)
	s.entries = append(s.entries, e)
}

// route is the one that counts now, nil without any.
func (s *Subscription) route() *Route {
	for _, e := range s.entries {
		if r := e.route.Load(); r != nil {
			return r
		}
	}
	return nil
}

// changed delivers what one of the entries has led to. Under Table.mu.
func (s *Subscription) changed(r *Route) {
	if now := s.route(); now != nil {
		r = now
	}
	s.deliver(r)
}

// Updates gives the route as it is, then as it changes; a route that does not
// exist has the state Gone. A slow reader gets the newest, not each one
// between. Before the table has its first full state there is nothing to
// give. The channel is closed by Close, of the subscription or the table.
func (s *Subscription) Updates() <-chan *Route { return s.updates }

// Close ends the subscription.
func (s *Subscription) Close() {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	open := false
	for _, e := range s.entries {
		if at := slices.Index(e.subs, s); at >= 0 {
			e.subs = slices.Delete(e.subs, at, at+1)
			open = true
		}
	}
	if open {
		close(s.updates)
	}
}

// deliver never waits: under Table.mu nobody else fills the channel.
func (s *Subscription) deliver(r *Route) {
	select {
	case <-s.updates:
	default:
	}
	s.updates <- r
}

// Await returns the route of a key as soon as it has one, such as after a
// launch. Errors: ctx's, or ErrClosed.
func (t *Table) Await(ctx context.Context, k Key) (*Route, error) {
	if r := t.Lookup(k); r != nil {
		return r, nil
	}
	s := t.Subscribe(k)
	defer s.Close()
	for {
		select {
		case r, ok := <-s.Updates():
			if !ok {
				return nil, ErrClosed
			}
			if r.State != Gone {
				return r, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
