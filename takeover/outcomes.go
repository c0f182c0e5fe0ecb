package takeover

// activated consumes a plan that reached worker w.
func (s *state) activated(w WorkerID, p *plan, sent int64) {
	delete(s.plans, p.binding)
	newest := s.newest[p.binding]
	if newest == nil {
		newest = new(activation)
		s.newest[p.binding] = newest
	}
	ev := p.event(Activated)
	ev.Worker, ev.Sent = w, sent
	*newest = activation{told: ev}
	if st := s.workers[w]; st != nil {
		st.given = ev
	}
	s.report(ev)
}

// repeat tells every activation again that the supervisor may not have heard of:
// words may be lost, and those who could be asked be dead.
func (s *state) repeat() {
	for _, a := range s.newest {
		if !a.heard {
			s.report(a.told)
		}
	}
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
