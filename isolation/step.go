package isolation

import "slices"

// step is the whole life of a binding: what was, what happened, what follows.
// It never has two active workers, and its epoch never falls.
func step(p phase, in input) (phase, []output) {
	if p.state == Gone {
		return p, nil
	}
	p, outs := decide(p, in)
	if p.unsettled { // rearm gives it its plan when it is settled
		outs = slices.DeleteFunc(outs, func(o output) bool { return o.kind == outArm })
	}
	return p, outs
}

func decide(p phase, in input) (phase, []output) {
	switch in.kind {
	case inLaunch:
		return launch(p)
	case inActivated:
		return activated(p, in)
	case inServing:
		if in.worker != p.worker || in.epoch != p.epoch || p.serving {
			return p, nil
		}
		p.serving, p.hedged = true, false
		if p.state == Draining {
			return p, nil
		}
		p.state, p.everServed = Active, true
		return p, []output{{kind: outRelax}, {kind: outReady}}
	case inWaiting:
		if p.state == Draining || !p.armed {
			return p, nil
		}
		p.armed, p.waiting, p.serving, p.worker = false, true, false, 0
		switch p.state {
		case Active:
			p.state = Recovering
			return p, []output{{kind: outRelax}, {kind: outPublish, reason: ReasonFailover}}
		}
		return p, []output{{kind: outRelax}}
	case inDoomed:
		// With a plan armed, inActivated or inWaiting comes from the engine
		// itself. Without one, nobody will take over.
		if in.worker != p.worker || p.armed || p.state == Draining || p.state == Failed {
			return p, nil
		}
		return bereft(p, in)
	case inLived:
		p.short = p.short.ended(in.short, p.serving)
		return p, nil
	case inHedge:
		return hedge(p, in)
	case inProved:
		return proved(p, in)
	case inExited:
		if in.worker != p.worker || p.state == Failed {
			return p, nil
		}
		p.worker, p.serving = 0, false
		switch {
		case p.state != Draining && !p.armed:
			return bereft(p, in)
		case p.state == Draining && !p.disarming:
			return gone(p)
		case p.state != Draining: // the engine's word on the plan can be lost
			return p, []output{{kind: outDeadline}}
		}
		return p, nil
	case inStartFailed:
		if p.waiting && p.state == Starting {
			return broken(p)
		}
		return p, nil
	case inFailing:
		if !p.waiting || p.state != Recovering {
			return p, nil
		}
		p.state = Failed
		return p, []output{{kind: outPublish, reason: ReasonFailed}, {kind: outFailing}}
	case inRefuse:
		return refuse(p)
	case inStandby:
		if !p.shut || p.held {
			return p, nil
		}
		return retry(p)
	case inRetry:
		if !p.held || p.state != Failed && p.state != Recovering {
			return p, nil
		}
		return retry(p)
	case inRenew:
		if in.epoch != p.next() || !p.armed || p.state == Draining {
			return p, nil
		}
		p.burnt = in.epoch
		return p, []output{{kind: outArm, worker: p.worker, epoch: p.next()}}
	case inDeadline:
		switch {
		case p.state == Draining || p.state == Failed || p.serving:
			return p, nil
		case p.worker != 0: // activated, but silent
			fail := output{kind: outFail, worker: p.worker}
			if p.state == Starting { // the launch fails; another would not do better
				p, outs := broken(p)
				// Disarmed first, so that its death takes no further standby.
				return p, slices.Insert(outs, slices.IndexFunc(outs, func(o output) bool { return o.kind == outDisarm })+1, fail)
			}
			return p, []output{fail} // its death moves the epoch on
		case p.armed && !p.rearmed:
			p.rearmed = true
			return p, []output{{kind: outArm, epoch: p.next()}, {kind: outDeadline}}
		case p.waiting || p.held || p.shut:
			return p, nil
		}
		return without(p)
	case inRelease:
		return release(p, in.force)
	case inDisarmed:
		if p.state != Draining {
			return p, nil
		}
		p.disarming = false
		if p.worker == 0 {
			return gone(p)
		}
		return p, []output{{kind: outLeave}, {kind: outDrain, worker: p.worker}}
	case inUnarmed:
		if p.armed && p.worker == 0 { // one of that epoch may have fired before
			p.burnt = p.next()
		}
		p.armed = false
		if p.worker == 0 && p.state != Draining && (p.state != Failed || p.everServed) {
			return without(p)
		}
		return p, nil
	case inArmable:
		if in.worker == 0 || in.worker != p.worker || in.epoch != p.next() || p.armed || p.short.looping() ||
			p.state == Draining || p.state == Failed {
			return p, nil
		}
		p.armed = true
		return p, []output{{kind: outArm, worker: in.worker, epoch: in.epoch}}
	case inEngineLost:
		return engineLost(p, in)
	case inSettled:
		return settled(p, in)
	}
	return p, nil
}

func launch(p phase) (phase, []output) {
	switch p.state {
	case Failed:
		switch {
		case p.everServed && p.held: // the manager has asked whether it may
			return retry(p)
		case p.everServed:
			return p, nil // a standby is waited for already
		}
		p.state, p.rearmed = Starting, false
		fallthrough
	case Starting:
		if p.armed || p.worker != 0 || p.waiting {
			return p, nil
		}
		p.armed = true
		return p, []output{{kind: outDeadline}, {kind: outArm, epoch: p.next()}}
	case Active, Recovering:
		if p.serving {
			return p, []output{{kind: outReady}}
		}
	}
	return p, nil
}

func activated(p phase, in input) (phase, []output) {
	if in.epoch <= p.epoch {
		return p, nil
	}
	first := p.state == Starting
	p.epoch, p.worker = in.epoch, in.worker
	p.serving, p.waiting, p.armed, p.rearmed, p.held = false, false, false, false, false
	switch p.state {
	case Draining: // too late; inDisarmed comes after this, and drains it
		return p, nil
	case Failed:
		if !p.everServed || p.shut {
			p.worker = 0
			return p, []output{{kind: outFail, worker: in.worker}}
		}
	}
	reason := ReasonLaunch
	if p.everServed || !first {
		reason = ReasonFailover
	}
	if in.handover && reason == ReasonFailover {
		reason = ReasonHandover
	}
	if p.state != Starting {
		p.state = Active
	}
	out := []output{{kind: outPublish, reason: reason}} // proxies first
	if !in.spent && !p.short.looping() {
		p.armed = true
		out = append(out, output{kind: outArm, worker: in.worker, epoch: p.next(), late: reason != ReasonLaunch})
	}
	if p.armed && !p.hedged {
		out = append(out, output{kind: outWatch, worker: in.worker})
	}
	if p.short.all > 0 {
		out = append(out, output{kind: outProve, worker: in.worker})
	}
	return p, append(out, output{kind: outDeadline})
}

func release(p phase, force bool) (phase, []output) {
	if p.state == Draining {
		if force && !p.force {
			p.force = true
			if p.worker != 0 {
				return p, []output{{kind: outDrain, worker: p.worker}}
			}
		}
		return p, nil
	}
	p.state, p.force, p.disarming = Draining, force, true
	p.armed, p.waiting, p.held, p.shut = false, false, false, false
	return p, []output{{kind: outRelax}, {kind: outPublish, reason: ReasonTerminate}, {kind: outDisarm}}
}

// broken gives up a launch until the next one. The engine may have used the
// epoch of its plan.
func broken(p phase) (phase, []output) {
	if p.armed || p.waiting {
		p.burnt = p.next()
	}
	p.state, p.worker = Failed, 0
	p.serving, p.armed, p.waiting = false, false, false
	return p, []output{{kind: outRelax}, {kind: outDisarm}, {kind: outPublish, reason: ReasonFailed}, {kind: outBroken}}
}

// without deals with a binding that has no worker and no plan that will give it
// one. A launch fails; one that has served is tried again later.
func without(p phase) (phase, []output) {
	if !p.everServed {
		return broken(p)
	}
	if p.armed {
		p.burnt = p.next()
	}
	p.state, p.worker, p.held = Failed, 0, true
	p.serving, p.armed, p.waiting = false, false, false
	return p, []output{{kind: outRelax}, {kind: outPublish, reason: ReasonFailed}, {kind: outHold}, {kind: outFailing}}
}

// refuse shuts the address of a binding that has no worker. The socket of its
// plan goes with it, so the plan does too, and its epoch.
func refuse(p phase) (phase, []output) {
	if p.shut || !p.everServed || p.worker != 0 || !p.waiting && !p.held {
		return p, nil
	}
	var outs []output
	if p.waiting {
		p.burnt = p.next()
	}
	if p.state != Failed {
		p.state = Failed
		outs = append(outs, output{kind: outPublish, reason: ReasonFailed})
	}
	told := p.state == Failed && len(outs) == 0
	p.shut, p.waiting = true, false
	outs = append(outs, output{kind: outShut})
	if !told {
		outs = append(outs, output{kind: outFailing})
	}
	return p, outs
}

// retry gives a binding that was held or shut its plan back.
func retry(p phase) (phase, []output) {
	var outs []output
	if p.shut {
		outs = append(outs, output{kind: outOpen})
	}
	p.state, p.held, p.shut, p.armed, p.rearmed = Recovering, false, false, true, false
	return p, append(outs, output{kind: outPublish, reason: ReasonFailover}, output{kind: outArm, epoch: p.next()}, output{kind: outDeadline})
}

func gone(p phase) (phase, []output) {
	p.state = Gone
	return p, []output{{kind: outGone}}
}
