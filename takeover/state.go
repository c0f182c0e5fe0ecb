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
	// given is the Activated event that spent this worker; its Kind is 0 before.
	given Event
}

// stack is one pool: its standbys, the newest last, and the plans that wait for
// one. Plans with less reserve come first, those with equal reserve in turn.
type stack struct {
	standby []WorkerID
	waiting []*plan
}

// activation is what was told of one.
type activation struct {
	told Event
	// heard: the supervisor has armed the next plan since, so it knows.
	heard bool
}

// state is the decision core: no clocks, no descriptors, no system calls.
// Invariants: a worker is in at most one stack, and never after it was
// activated or doomed; a plan fires at most once; a binding's epochs rise; a
// plan takes a standby only if its reserve remains.
type state struct {
	workers   map[WorkerID]*standing
	plans     map[BindingID]*plan
	stacks    map[PoolID]*stack
	newest    map[BindingID]*activation // the last that was sent out
	postponed []*plan                   // those that wait for the next retry
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
		newest:    make(map[BindingID]*activation),
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

// forget drops a worker that was reaped. The word of its end may come before
// the sentinel's own notice of its death, so it counts as one.
//
// Nobody will ask again whether it was activated, by offering it. So that is
// told once more where the supervisor may not have heard of it.
func (s *state) forget(w WorkerID, c cause) {
	s.doom(w, c)
	if st := s.workers[w]; st != nil && st.given.Kind != 0 {
		if a := s.newest[st.given.Binding]; a != nil && !a.heard && a.told.Worker == w {
			s.report(a.told)
		}
	}
	delete(s.workers, w)
}
