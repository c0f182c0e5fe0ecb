package isolation

import "time"

// A life is short if the worker dies sooner after its activation than another
// takes to start: such deaths use standbys up faster than they are made. So a
// binding leaves the last standby to others from reservesFrom short lives in a
// row on. It goes on without pauses, as quick as starts are: somebody may be
// killing healthy workers, and the crash budget bounds how often. It is in a
// crash loop when loopsFrom in a row ended before they served: then it has no
// plan at all, and each death is followed by a pause that grows. One long life
// ends it.
const (
	reservesFrom = 2
	loopsFrom    = 3
	// minLife is the least that counts as a long life, for patterns that start
	// quicker than that.
	minLife = 25 * time.Millisecond
	// maxPause bounds the pause between two tries.
	maxPause = 30 * time.Second
	// maxShort bounds the counts.
	maxShort = 1 << 20
)

// shortLives counts, in a row, the short lives and the newest of them that
// ended before they served.
type shortLives struct{ all, unserved int }

// reserves reports whether the binding's plans leave the last standby to others.
func (s shortLives) reserves() bool { return s.all >= reservesFrom }

// looping reports whether the binding has pauses in the place of plans.
func (s shortLives) looping() bool { return s.unserved >= loopsFrom }

// pause is how long a binding waits in a crash loop; long is the least that a
// long life has.
func (s shortLives) pause(long time.Duration) time.Duration {
	d := max(long, minLife)
	for n := s.unserved - loopsFrom; n > 0 && d < maxPause; n-- {
		d *= 2
	}
	return min(d, maxPause)
}

// ended counts the life of a worker that died; served says whether it did.
func (s shortLives) ended(short, served bool) shortLives {
	if !short {
		return shortLives{}
	}
	s.all = min(s.all+1, maxShort)
	s.unserved = min(s.unserved+1, maxShort)
	if served {
		s.unserved = 0
	}
	return s
}

// proved ends a crash loop: worker has had a long life. Whoever activates slowly
// has more time for it.
func proved(p phase, in input) (phase, []output) {
	if in.worker == 0 || in.worker != p.worker || p.short.all == 0 || p.state == Draining || p.state == Failed {
		return p, nil
	}
	if !p.serving {
		return p, []output{{kind: outProve, worker: p.worker}}
	}
	reserved := p.short.reserves()
	p.short = shortLives{}
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
	if !p.short.looping() || in.spent || !p.everServed {
		return without(p)
	}
	p.state, p.worker, p.held = Recovering, 0, true
	p.serving, p.waiting = false, false
	return p, []output{{kind: outRelax}, {kind: outPublish, reason: ReasonFailover}, {kind: outHold}, {kind: outLoop}}
}
