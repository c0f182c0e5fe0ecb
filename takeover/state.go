package takeover

// WorkerID names a worker for as long as the supervisor lives; never reused.
type WorkerID uint64

// BindingID names a binding for as long as the supervisor lives; never reused.
type BindingID uint64

// PoolID names a stack of standbys that may take each other's place.
type PoolID uint32

// effectKind says what the engine must do.
type effectKind uint8

const (
	// effectActivate: send plan's activation to worker; on failure call
	// sendFailed, else activated.
	effectActivate effectKind = iota
	// effectReport: tell the supervisor.
	effectReport
)

// effect is one thing to do. Effects are values in a reused slice, so that a
// step allocates nothing.
type effect struct {
	kind   effectKind
	worker WorkerID
	plan   *plan
	event  Event
}

// plan is an armed activation: when guard is doomed, a standby of pool becomes
// active for binding with epoch. Guard 0 means at once.
type plan struct {
	binding BindingID
	guard   WorkerID
	epoch   uint64
	pool    PoolID
	cause   cause
	message *message
}

// cause is what is known of the death that fires a plan.
type cause struct {
	source uint8
	signal int32
	dumper int32 // the thread that writes a core dump, or 0
	at     int64 // kernel's time of death, CLOCK_MONOTONIC ns; 0 unknown
	seen   int64 // when the sentinel's thread saw it
}

type standing struct {
	pool    PoolID
	standby bool
	doomed  bool
	cause   cause
	guards  BindingID // the binding whose plan waits for this worker's death
	// given is the Activated event that spent this worker; its Kind is 0 before.
	given Event
}

type stack struct {
	standby []WorkerID
	waiting []*plan // first come, first served
}

// state is the decision core: no clocks, no descriptors, no system calls.
// Invariants: a worker is in at most one stack, and never after it was
// activated or doomed; a plan fires at most once; a binding's epochs rise.
type state struct {
	workers map[WorkerID]*standing
	plans   map[BindingID]*plan
	stacks  map[PoolID]*stack
	epochs  map[BindingID]uint64 // newest epoch sent out
	out     []effect
}

func newState() *state {
	return &state{
		workers: make(map[WorkerID]*standing),
		plans:   make(map[BindingID]*plan),
		stacks:  make(map[PoolID]*stack),
		epochs:  make(map[BindingID]uint64),
		out:     make([]effect, 0, 64),
	}
}

// take returns the effects since the last take, valid until the next step.
func (s *state) take() []effect {
	out := s.out
	s.out = s.out[:0]
	return out
}

func (s *state) report(e Event) { s.out = append(s.out, effect{kind: effectReport, event: e}) }

func (s *state) stack(p PoolID) *stack {
	st := s.stacks[p]
	if st == nil {
		st = &stack{standby: make([]WorkerID, 0, 16)}
		s.stacks[p] = st
	}
	return st
}

// watch makes a worker known.
func (s *state) watch(w WorkerID) {
	if s.workers[w] == nil {
		s.workers[w] = &standing{}
	}
}

// offer puts a warm worker at its pool's disposal; a binding that waits gets
// it at once. Offering a standby again changes nothing, and one that was
// activated is never a standby again: the supervisor is told once more. That
// alone is no difference repaired: the first telling may be on its way.
func (s *state) offer(w WorkerID, p PoolID) (changed bool) {
	st := s.workers[w]
	if st == nil || st.doomed || st.standby {
		return false
	}
	if st.given.Kind != 0 {
		s.report(st.given)
		return false
	}
	st.pool = p
	k := s.stack(p)
	if len(k.waiting) > 0 {
		pl := k.waiting[0]
		k.waiting = append(k.waiting[:0], k.waiting[1:]...)
		s.out = append(s.out, effect{kind: effectActivate, worker: w, plan: pl})
		return true
	}
	st.standby = true
	k.standby = append(k.standby, w)
	return true
}

// withdraw takes a standby back; Withdrawn says whether it was still there.
func (s *state) withdraw(w WorkerID) {
	ok := false
	if st := s.workers[w]; st != nil && st.standby {
		s.leave(w, st)
		ok = true
	}
	s.report(Event{Kind: Withdrawn, Worker: w, OK: ok})
}

func (s *state) leave(w WorkerID, st *standing) {
	k := s.stack(st.pool)
	for i, x := range k.standby {
		if x == w {
			k.standby = append(k.standby[:i], k.standby[i+1:]...)
			break
		}
	}
	st.standby = false
}

// arm sets a binding's plan in the place of its former one. A plan whose guard
// is dead, or 0, fires now. A plan that would not raise the epoch is refused;
// one that is armed already is left as it is. arm reports whether it kept p.
func (s *state) arm(p *plan) bool {
	if p.epoch <= s.epochs[p.binding] {
		s.report(Event{Kind: Refused, Binding: p.binding, Epoch: p.epoch})
		return false
	}
	if s.armed(p.binding, p.guard, p.epoch) {
		return false
	}
	s.drop(p.binding)
	s.plans[p.binding] = p
	if p.guard != 0 {
		st := s.workers[p.guard]
		if st != nil && !st.doomed {
			st.guards = p.binding
			return true
		}
		if st != nil {
			p.cause = st.cause
		}
	}
	s.fire(p)
	return true
}

// armed reports whether a binding's plan is that one already.
func (s *state) armed(b BindingID, guard WorkerID, epoch uint64) bool {
	p := s.plans[b]
	return p != nil && p.epoch == epoch && p.guard == guard
}

// disarm forgets a binding for good: nothing fires for it any more, and its id
// must not be used again.
func (s *state) disarm(b BindingID) {
	s.drop(b)
	delete(s.epochs, b)
	s.report(Event{Kind: Disarmed, Binding: b})
}

func (s *state) drop(b BindingID) {
	p := s.plans[b]
	if p == nil {
		return
	}
	delete(s.plans, b)
	if st := s.workers[p.guard]; st != nil && st.guards == b {
		st.guards = 0
	}
	k := s.stack(p.pool)
	for i, x := range k.waiting {
		if x == p {
			k.waiting = append(k.waiting[:i], k.waiting[i+1:]...)
			break
		}
	}
}

// doom marks a worker as dead and fires the plan that it guards. Only the
// first call for a worker counts; it reports whether it was that.
func (s *state) doom(w WorkerID, c cause) bool {
	st := s.workers[w]
	if st == nil || st.doomed {
		return false
	}
	st.doomed, st.cause = true, c
	if st.standby {
		s.leave(w, st)
	}
	if b := st.guards; b != 0 {
		st.guards = 0
		if p := s.plans[b]; p != nil {
			p.cause = c
			s.fire(p)
		}
	}
	return true
}

// fire sends a plan to the newest standby, or lets it wait for one.
func (s *state) fire(p *plan) {
	k := s.stack(p.pool)
	if n := len(k.standby); n > 0 {
		w := k.standby[n-1]
		k.standby = k.standby[:n-1]
		s.workers[w].standby = false
		s.out = append(s.out, effect{kind: effectActivate, worker: w, plan: p})
		return
	}
	k.waiting = append(k.waiting, p)
	s.report(Event{Kind: Waiting, Binding: p.binding, Dead: p.guard, Epoch: p.epoch,
		Source: p.cause.source, Signal: p.cause.signal, At: p.cause.at, Seen: p.cause.seen})
}

// activated consumes a plan that reached worker w.
func (s *state) activated(w WorkerID, p *plan, sent int64) {
	s.epochs[p.binding] = p.epoch
	delete(s.plans, p.binding)
	ev := Event{Kind: Activated, Worker: w, Binding: p.binding, Dead: p.guard, Epoch: p.epoch,
		Source: p.cause.source, Signal: p.cause.signal, At: p.cause.at, Seen: p.cause.seen, Sent: sent}
	if st := s.workers[w]; st != nil {
		st.given = ev
	}
	s.report(ev)
}

// sendFailed gives up worker w, whose control socket is broken, and fires the
// plan again.
func (s *state) sendFailed(w WorkerID, p *plan) {
	s.report(Event{Kind: Lost, Worker: w})
	s.fire(p)
}

// forget drops a worker that was reaped. The word of its end may come before
// the sentinel's own notice of its death, so it counts as one.
func (s *state) forget(w WorkerID, c cause) {
	s.doom(w, c)
	delete(s.workers, w)
}
