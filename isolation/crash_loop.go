package isolation

import "time"

// A worker that dies sooner after its activation than another takes to start
// uses standbys up faster than they are made. Its binding must not use up those
// of others: from reservesFrom short lives in a row its plans leave one standby,
// from holdsFrom on it has no plan at all, and each death is followed by a pause
// that grows. One long life ends it.
const (
	reservesFrom = 2
	holdsFrom    = 3
	// minLife is the least that counts as a long life, for patterns that start
	// quicker than that.
	minLife = 25 * time.Millisecond
	// maxPause bounds the pause between two tries.
	maxPause = 30 * time.Second
	// maxShort bounds the count of short lives.
	maxShort = 1 << 20
)

// reserves reports whether the binding's plans leave the last standby to others.
func (p phase) reserves() bool { return p.short >= reservesFrom }

// looping reports whether the binding has pauses in the place of plans.
func (p phase) looping() bool { return p.short >= holdsFrom }

// pause is how long a binding waits after so many short lives in a row; long is
// the least that a long life has.
func pause(short int, long time.Duration) time.Duration {
	d := max(long, minLife)
	for n := holdsFrom; n < short && d < maxPause; n++ {
		d *= 2
	}
	return min(d, maxPause)
}

// lived counts the life of a worker that died.
func lived(p phase, short bool) phase {
	switch {
	case !short:
		p.short = 0
	case p.short < maxShort:
		p.short++
	}
	return p
}

// proved ends a crash loop: worker has had a long life. Whoever activates slowly
// has more time for it.
func proved(p phase, in input) (phase, []output) {
	if in.worker == 0 || in.worker != p.worker || p.short == 0 || p.state == Draining || p.state == Failed {
		return p, nil
	}
	if !p.serving {
		return p, []output{{kind: outProve, worker: p.worker}}
	}
	reserved := p.reserves()
	p.short = 0
	switch {
	case p.armed && reserved: // the same plan, with less reserve
		return p, []output{{kind: outArm, worker: p.worker, epoch: p.next()}}
	case !p.armed && !in.spent:
		p.armed = true
		return p, []output{{kind: outArm, worker: p.worker, epoch: p.next()}}
	}
	return p, nil
}

// bereft deals with the death of a worker without a plan.
func bereft(p phase, in input) (phase, []output) {
	if !p.looping() || in.spent || !p.everServed {
		return without(p)
	}
	p.state, p.worker, p.held = Recovering, 0, true
	p.serving, p.waiting = false, false
	return p, []output{{kind: outRelax}, {kind: outPublish, reason: ReasonFailover}, {kind: outHold}, {kind: outLoop}}
}
