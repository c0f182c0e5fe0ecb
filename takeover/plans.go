package takeover

// arm sets a binding's plan in the place of its former one. A plan whose guard
// is dead, or 0, fires now. A plan that would not raise the epoch is refused,
// and the activation that it comes too late for told again. One whose guard is
// unknown is rejected: it must not fire beside a worker that may live. One that
// is armed already is left as it is. arm reports whether it kept p.
func (s *state) arm(p *plan) bool {
	newest := s.newest[p.binding]
	if newest != nil && p.epoch <= newest.told.Epoch {
		s.report(Event{Kind: Refused, Binding: p.binding, Epoch: p.epoch})
		s.report(newest.told) // its word was lost, and who got it may be dead and forgotten
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
	if newest != nil {
		newest.heard = true
	}
	s.drop(p.binding)
	s.plans[p.binding] = p
	if guard != nil {
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
