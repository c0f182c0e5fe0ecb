package takeover

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
