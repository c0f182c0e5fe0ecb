package route

import understudyv1 "understudy/proto/understudy/v1"

// change is a route to be put in the place of the one before.
type change struct {
	identity
	route   *Route
	message *understudyv1.Route
}

// update brings the table one step on. Connections to dead workers are cut first:
// a caller that sees the new route finds a client that no longer uses them.
func (t *Table) update(u *understudyv1.RoutesUpdate) {
	changes := make([]change, 0, len(u.GetRoutes()))
	malformed := 0
	for _, m := range u.GetRoutes() {
		r, i, err := fromMessage(m)
		if err != nil {
			t.log.Warn("route is left out", "process_id", r.ProcessID, "error", err)
			malformed++
			continue
		}
		changes = append(changes, change{i, r, m})
	}
	cut(t.takeDead(changes))

	t.mu.Lock()
	t.stats.Revision = u.GetRevision()
	t.stats.Malformed += uint64(malformed)
	if u.GetFull() {
		t.round++
	}
	t.mu.Unlock()
	for _, c := range changes {
		t.set(c.identity, c.route)
	}
	if u.GetFull() {
		t.dropMissing()
	}
}

// takeDead returns the connections whose workers died, by the changes.
func (t *Table) takeDead(changes []change) (dead []*conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		e := t.entry(c.identity)
		dead = append(dead, e.takeDead(e.route.Load(), c.route, func() bool { return sameClock(c.message) })...)
	}
	t.stats.Cut += uint64(len(dead))
	return dead
}

// set puts a route in the place of the one before.
func (t *Table) set(i identity, r *Route) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(i)
	e.round = t.round
	before := e.route.Load()
	if before != nil && before.Address != r.Address && t.byAddress[before.Address] == e {
		delete(t.byAddress, before.Address)
	}
	switch {
	case r.State != Gone:
		if before == nil {
			t.stats.Routes++
		}
		t.byAddress[r.Address] = e
		e.route.Store(r)
	case before != nil:
		t.stats.Routes--
		e.route.Store(nil)
	}
	for _, s := range e.subs {
		s.changed(r)
	}
}

// dropMissing ends the routes that the last full state did not have. The first
// one also ends the waiting for routes that do not exist.
func (t *Table) dropMissing() {
	t.mu.Lock()
	first := !t.full
	t.full = true
	var missing []*entry
	for e := range t.index.Load().all {
		if e.round != t.round && (e.route.Load() != nil || first && len(e.subs) > 0) {
			missing = append(missing, e)
		}
	}
	t.mu.Unlock()
	for _, e := range missing {
		t.set(e.identity, goneRoute(e.identity))
	}
	if first {
		close(t.synced)
	}
}
