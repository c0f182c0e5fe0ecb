package isolation

// engineLost begins anew with an engine that knows nothing. The old one may have
// used the epoch of its plan without our knowledge, so that is burnt. And it may
// have given a standby to the binding: until every standby has said whom it
// serves, a second one must not be activated, however well the worker looks,
// which may be dying.
func engineLost(p phase, in input) (phase, []output) {
	if p.state == Gone {
		return p, nil
	}
	p.burnt = p.next()
	if p.state == Draining {
		return p, []output{{kind: outDisarm}}
	}
	if p.unsettled = in.unsure; p.unsettled {
		return p, nil
	}
	return rearm(p, in.lost)
}

// settled arms what waited for the standbys' answers.
func settled(p phase, in input) (phase, []output) {
	if !p.unsettled || p.state == Draining {
		return p, nil
	}
	p.unsettled = false
	return rearm(p, in.lost)
}

// rearm tells a new engine what the old one knew.
func rearm(p phase, lost bool) (phase, []output) {
	if lost {
		p.worker, p.serving = 0, false
	}
	if !p.armed && !p.waiting {
		return p, nil // its crash budget is spent; it is held, shut, or to be launched
	}
	p.armed, p.waiting = true, false
	outs := []output{{kind: outArm, worker: p.worker, epoch: p.next()}}
	if p.worker == 0 { // it fires at once, and the word of that can be lost
		outs = append(outs, output{kind: outDeadline})
	}
	return p, outs
}
