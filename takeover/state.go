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
	// effectActivate: carry out plan's actions with worker; then call
	// activated, lost or postponed.
	effectActivate effectKind = iota
	// effectReport: tell the supervisor.
	effectReport
)

// effect is one thing to do. Effects are values in reused slices, so that a
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
	// reserve is how many standbys of the pool the plan leaves to others.
	reserve int
	// guardDead: guard was reaped, so the plan fires at once.
	guardDead bool
	// handover: the plan fired though its guard is well.
	handover bool
	// postponed: the last try failed for no fault of a standby. The plan waits
	// beside standbys until the next retry. tries counts them.
	postponed bool
	tries     int
	cause     cause
	actions   []action
}

// cause is what is known of the death that fires a plan.
type cause struct {
	source uint8
	signal int32
	dumper int32 // the thread that writes a core dump, or 0
	at     int64 // kernel's time of death, CLOCK_MONOTONIC ns; 0 unknown
	seen   int64 // when the sentinel's thread saw it
}

// standing is what the state knows of one worker.
type standing struct {
	pool    PoolID
	standby bool
	doomed  bool
	cause   cause
	guards  BindingID // the binding whose plan waits for this worker's death
	// known: a plan was armed for its death, so the supervisor had heard of its
	// activation.
	known bool
	// given is the Activated event that spent this worker; its Kind is 0 before.
	given Event
}

// stack is one pool: its standbys, the newest last, and the plans that wait for
// one. Plans with less reserve come first, those with equal reserve in turn.
type stack struct {
	standby []WorkerID
	waiting []*plan
}

// state is the decision core: no clocks, no descriptors, no system calls.
// Invariants: a worker is in at most one stack, and never after it was
// activated or doomed; a plan fires at most once; a binding's epochs rise; a
// plan takes a standby only if its reserve remains.
type state struct {
	workers   map[WorkerID]*standing
	plans     map[BindingID]*plan
	stacks    map[PoolID]*stack
	newest    map[BindingID]*Event // the last activation that was sent out
	postponed []*plan              // those that wait for the next retry
	out       []effect
	spare     []effect // the other buffer of take
}

// buffered is how many effects, and plans that wait, have room from the start.
const buffered = 64

func newState() *state {
	return &state{
		workers:   make(map[WorkerID]*standing),
		plans:     make(map[BindingID]*plan),
		stacks:    make(map[PoolID]*stack),
		newest:    make(map[BindingID]*Event),
		postponed: make([]*plan, 0, buffered),
		out:       make([]effect, 0, buffered),
		spare:     make([]effect, 0, buffered),
	}
}

// take returns the effects since the last take, valid until the next take: the
// steps that follow write to the other buffer.
func (s *state) take() []effect {
	taken := s.out
	s.out, s.spare = s.spare[:0], taken
	return taken
}

func (s *state) report(e Event) { s.out = append(s.out, effect{kind: effectReport, event: e}) }

func (s *state) activate(w WorkerID, p *plan) {
	s.out = append(s.out, effect{kind: effectActivate, worker: w, plan: p})
}

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

// known reports whether a worker was watched and not forgotten.
func (s *state) known(w WorkerID) bool { return s.workers[w] != nil }

// offer puts a warm worker at its pool's disposal; a plan that waits gets it at
// once, if its reserve stands by. Offering a standby again changes nothing, and
// one that was activated is never a standby again: the supervisor is told once
// more. That alone is no difference repaired: the first telling may be on its
// way.
func (s *state) offer(w WorkerID, p PoolID) (changed bool) {
	st := s.workers[w]
	if st == nil || st.doomed || st.standby {
		return false
	}
	if st.given.Kind != 0 {
		s.report(st.given)
		return false
	}
	s.stand(w, st, p)
	s.serveWaiting(s.stack(p))
	return true
}

func (s *state) stand(w WorkerID, st *standing, p PoolID) {
	st.pool, st.standby = p, true
	k := s.stack(p)
	k.standby = append(k.standby, w)
}

// serveWaiting gives standbys to the plans that wait, as far as their reserves
// permit. Plans that are postponed have their turn with the next retry.
func (s *state) serveWaiting(k *stack) {
	for i := 0; i < len(k.waiting); {
		p := k.waiting[i]
		if p.postponed {
			i++
			continue
		}
		w := s.pop(k, p.reserve)
		if w == 0 {
			return // the plans behind it want to leave as many, or more
		}
		k.waiting = append(k.waiting[:i], k.waiting[i+1:]...)
		s.activate(w, p)
	}
}

// pop takes the newest standby, or returns 0 if fewer than reserve would
// remain.
func (s *state) pop(k *stack, reserve int) WorkerID {
	n := len(k.standby)
	if n <= reserve {
		return 0
	}
	w := k.standby[n-1]
	k.standby = k.standby[:n-1]
	s.workers[w].standby = false
	return w
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
// is dead, or 0, fires now. A plan that would not raise the epoch is refused,
// and the activation that it comes too late for told again. One whose guard is unknown rejected: it must not fire beside a worker that
// may live. One that is armed already is left as it is. arm reports whether it
// kept p.
func (s *state) arm(p *plan) bool {
	if newest := s.newest[p.binding]; newest != nil && p.epoch <= newest.Epoch {
		s.report(Event{Kind: Refused, Binding: p.binding, Epoch: p.epoch})
		s.report(*newest) // its word was lost, and who got it may be dead and forgotten
		return false
	}
	guard := s.workers[p.guard]
	if p.guard != 0 && guard == nil && !p.guardDead {
		s.report(Event{Kind: Rejected, Op: OpArm, Worker: p.guard, Binding: p.binding, Epoch: p.epoch})
		return false
	}
	if s.armed(p) {
		return false
	}
	s.drop(p.binding)
	s.plans[p.binding] = p
	if guard != nil {
		guard.known = true
		if !guard.doomed && !p.guardDead {
			guard.guards = p.binding
			return true
		}
		p.cause = guard.cause
	}
	s.fire(p)
	return true
}

// armed reports whether a binding's plan is p already.
func (s *state) armed(p *plan) bool {
	q := s.plans[p.binding]
	return q != nil && q.epoch == p.epoch && q.guard == p.guard && q.pool == p.pool &&
		q.reserve == p.reserve && q.guardDead == p.guardDead
}

// remind says again that a binding's plan waits: the first word may be lost.
func (s *state) remind(b BindingID) {
	p := s.plans[b]
	for _, x := range s.stack(p.pool).waiting {
		if x == p {
			s.report(p.event(Waiting))
			return
		}
	}
}

// disarm forgets a binding for good: nothing fires for it any more, and its id
// must not be used again.
func (s *state) disarm(b BindingID) {
	s.drop(b)
	delete(s.newest, b)
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
	k.waiting = without(k.waiting, p)
	s.postponed = without(s.postponed, p)
}

func without(plans []*plan, p *plan) []*plan {
	for i, x := range plans {
		if x == p {
			return append(plans[:i], plans[i+1:]...)
		}
	}
	return plans
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
	if p := s.guarded(st); p != nil {
		p.cause = c
		s.fire(p)
	}
	return true
}

// handover fires the plan that w guards though w is well. It reports whether
// there was one.
func (s *state) handover(w WorkerID, c cause) bool {
	st := s.workers[w]
	if st == nil {
		return false
	}
	p := s.guarded(st)
	if p == nil {
		return false
	}
	p.handover, p.cause = true, c
	s.fire(p)
	return true
}

// guarded returns the plan that a worker guards, or nil. It does so once.
func (s *state) guarded(st *standing) *plan {
	p := s.plans[st.guards] // there is no binding 0
	st.guards = 0
	return p
}

// fire gives a plan the newest standby, or lets it wait for one.
func (s *state) fire(p *plan) {
	k := s.stack(p.pool)
	if w := s.pop(k, p.reserve); w != 0 {
		s.activate(w, p)
		return
	}
	s.wait(k, p)
	s.report(p.event(Waiting))
}

// wait puts a plan behind those that go before it.
func (s *state) wait(k *stack, p *plan) {
	at := len(k.waiting)
	for at > 0 && k.waiting[at-1].reserve > p.reserve {
		at--
	}
	k.waiting = append(k.waiting, nil)
	copy(k.waiting[at+1:], k.waiting[at:])
	k.waiting[at] = p
}

// event is what is told of a plan.
func (p *plan) event(kind EventKind) Event {
	return Event{Kind: kind, Binding: p.binding, Dead: p.guard, Epoch: p.epoch, Handover: p.handover,
		Source: p.cause.source, Signal: p.cause.signal, At: p.cause.at, Seen: p.cause.seen}
}

// activated consumes a plan that reached worker w.
func (s *state) activated(w WorkerID, p *plan, sent int64) {
	delete(s.plans, p.binding)
	newest := s.newest[p.binding]
	if newest == nil {
		newest = new(Event)
		s.newest[p.binding] = newest
	}
	ev := p.event(Activated)
	ev.Worker, ev.Sent = w, sent
	*newest = ev
	if st := s.workers[w]; st != nil {
		st.given = ev
	}
	s.report(ev)
}

// lost gives up worker w, whose control socket is broken, and fires the plan
// again.
func (s *state) lost(w WorkerID, p *plan) {
	s.report(Event{Kind: Lost, Worker: w})
	s.fire(p)
}

// maxQuickTries is how often a plan is tried again at short intervals before
// the supervisor is told that it waits.
const maxQuickTries = 50

// postpone keeps standby w, which was not to blame that plan p could not be
// carried out, or not known to be, and lets p wait for the next retry. last puts
// w behind the other standbys.
func (s *state) postpone(w WorkerID, p *plan, errno uint32, last bool) {
	p.postponed = true
	p.tries++
	s.postponed = append(s.postponed, p)
	k := s.stack(p.pool)
	s.wait(k, p)
	ev := p.event(Retrying)
	ev.Worker, ev.Errno = w, errno
	switch p.tries {
	case 1:
		s.report(ev)
	case maxQuickTries:
		ev.Kind = Waiting
		s.report(ev)
	}
	if st := s.workers[w]; st != nil {
		s.stand(w, st, p.pool)
		if last {
			copy(k.standby[1:], k.standby[:len(k.standby)-1])
			k.standby[0] = w
		}
		s.serveWaiting(k)
	}
}

// retry tries the postponed plans again, the oldest first.
func (s *state) retry() {
	plans := s.postponed
	s.postponed = s.postponed[:0]
	for _, p := range plans {
		p.postponed = false
		k := s.stack(p.pool)
		k.waiting = without(k.waiting, p)
		s.fire(p)
	}
}

// hurry reports whether some postponed plan is still worth a try at a short
// interval.
func (s *state) hurry() bool {
	for _, p := range s.postponed {
		if p.tries < maxQuickTries {
			return true
		}
	}
	return false
}

// forget drops a worker that was reaped. The word of its end may come before
// the sentinel's own notice of its death, so it counts as one.
//
// Nobody will ask again whether it was activated, by offering it. So that is
// told once more where the supervisor may not have heard of it.
func (s *state) forget(w WorkerID, c cause) {
	s.doom(w, c)
	if st := s.workers[w]; st != nil && st.given.Kind != 0 && !st.known {
		s.report(st.given)
	}
	delete(s.workers, w)
}
