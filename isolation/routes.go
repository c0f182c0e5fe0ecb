package isolation

import (
	"context"
	"sync"
)

// routeTable is the published routes and those who watch them. Its lock is
// held for map operations only, never across anything that can block.
type routeTable struct {
	mu       sync.Mutex
	routes   map[string]Route
	revision uint64
	watchers map[*Watcher]struct{}
	closed   bool
}

func newRouteTable() *routeTable {
	return &routeTable{routes: make(map[string]Route), watchers: make(map[*Watcher]struct{})}
}

// maxGone is how many routes that are gone a slow watcher may have yet to hear
// of. Beyond it, the watcher gets all routes again, which says as much.
const maxGone = 4096

// Watcher receives the route table and its changes. A slow watcher gets the
// newest route of each binding, not each one between, so it holds little more
// than the table does.
type Watcher struct {
	table   *routeTable
	pattern string
	wake    chan struct{}
	// Under table.mu:
	full    bool
	pending map[string]Route
}

func (t *routeTable) publish(r Route) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revision++
	if r.State == Gone {
		delete(t.routes, r.ProcessID)
	} else {
		t.routes[r.ProcessID] = r
	}
	for w := range t.watchers {
		if w.pattern == "" || w.pattern == r.Pattern {
			if !w.full {
				w.pending[r.ProcessID] = r
			}
			if len(w.pending) > len(t.routes)+maxGone {
				w.full, w.pending = true, make(map[string]Route)
			}
			w.signal()
		}
	}
}

func (t *routeTable) watch(pattern string) *Watcher {
	w := &Watcher{table: t, pattern: pattern, wake: make(chan struct{}, 1), full: true, pending: make(map[string]Route)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchers[w] = struct{}{}
	w.signal()
	return w
}

// close ends every watcher.
func (t *routeTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for w := range t.watchers {
		w.signal()
	}
}

func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Next waits for news: first all routes, then what changed since the last
// call, or all again where that was very much. It returns ErrClosed when the supervisor stops, or ctx's error.
func (w *Watcher) Next(ctx context.Context) (RoutesUpdate, error) {
	for {
		select {
		case <-ctx.Done():
			return RoutesUpdate{}, ctx.Err()
		case <-w.wake:
		}
		if u, ok, err := w.collect(); ok || err != nil {
			return u, err
		}
	}
}

func (w *Watcher) collect() (u RoutesUpdate, ok bool, err error) {
	t := w.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		w.signal()
		return u, false, ErrClosed
	}
	u = RoutesUpdate{Full: w.full, Revision: t.revision}
	from := w.pending
	if w.full {
		from = t.routes
	}
	for _, r := range from {
		if w.pattern == "" || w.pattern == r.Pattern {
			u.Routes = append(u.Routes, r)
		}
	}
	ok = w.full || len(u.Routes) > 0
	w.full = false
	clear(w.pending)
	return u, ok, nil
}

// Close ends the watching.
func (w *Watcher) Close() {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	delete(w.table.watchers, w)
}
