package route

import (
	"context"
	"slices"
)

// Subscription is the changes of one route.
type Subscription struct {
	table   *Table
	entry   *entry
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
	s.entry = t.entry(k.identity())
	s.entry.subs = append(s.entry.subs, s)
	if r := s.entry.route.Load(); r != nil {
		s.deliver(r)
	} else if t.full {
		s.deliver(goneRoute(s.entry.identity))
	}
	return s
}

// Updates gives the route as it is, then as it changes; a route that does not
// exist has the state Gone. Whoever reads too slowly gets the newest, not each
// one between. Before the table has its first full state there is nothing to
// give. The channel is closed by Close, of the subscription or the table.
func (s *Subscription) Updates() <-chan *Route { return s.updates }

// Close ends the subscription.
func (s *Subscription) Close() {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	if s.entry == nil {
		return
	}
	if at := slices.Index(s.entry.subs, s); at >= 0 {
		s.entry.subs = slices.Delete(s.entry.subs, at, at+1)
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
