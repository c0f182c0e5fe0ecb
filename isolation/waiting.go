package isolation

import (
	"container/list"
	"time"

	"understudy/pool"
)

// waitKind says for what a binding waits, of those that wait for a worker to be
// started.
type waitKind uint8

const (
	waitNot waitKind = iota
	// waitLaunch: its first worker.
	waitLaunch
	// waitRecovery: one in the place of a worker that died.
	waitRecovery
	// waitFailed: the same, and it has been told that starts fail.
	waitFailed
	// waitShut: its clients are refused meanwhile.
	waitShut
	waitKinds
)

// waitsFor is what a binding waits for.
func (p phase) waitsFor() waitKind {
	switch {
	case !p.wants():
		return waitNot
	case p.shut:
		return waitShut
	case p.state == Starting:
		return waitLaunch
	case p.state == Recovering:
		return waitRecovery
	}
	return waitFailed
}

// waiters are the bindings of one pattern that wait for a worker, by kind, those
// that have waited longest first. With them a failed start, and a new standby,
// look at the first ones only, however many wait.
type waiters struct {
	queues [waitKinds]list.List
	n      int
}

func (w *waiters) first(k waitKind) *entry {
	if f := w.queues[k].Front(); f != nil {
		return f.Value.(*entry)
	}
	return nil
}

// waitersOf returns the waiters of a pattern.
func (m *Manager) waitersOf(pattern string) *waiters {
	w := m.waiters[pattern]
	if w == nil {
		w = &waiters{}
		m.waiters[pattern] = w
	}
	return w
}

// wait puts a binding where it belongs after a step, and says how many wait.
func (m *Manager) wait(e *entry) {
	kind := e.phase.waitsFor()
	if kind == e.waits {
		return
	}
	w := m.waitersOf(e.Pattern)
	before := w.n
	if e.waits != waitNot {
		w.queues[e.waits].Remove(e.place)
		e.place = nil
		w.n--
	} else {
		e.waiting = time.Now()
	}
	if e.waits = kind; kind != waitNot {
		e.place = w.queues[kind].PushBack(e)
		w.n++
	}
	if w.n != before {
		m.keeper.Demand(e.pool(), w.n)
	}
}

// openOldest gives a standby to the binding that has been shut for longest.
func (m *Manager) openOldest(pattern string) {
	if e := m.waitersOf(pattern).first(waitShut); e != nil {
		m.apply(e, input{kind: inStandby})
	}
}

// startFailed gives the error to the launch that has waited longest for a worker
// of the pattern. Failovers go on trying; those that have waited for as long as
// a start may take are told, once. It returns how many it has looked at.
func (m *Manager) startFailed(key pool.PoolKey, err *pool.StartError) (looks int) {
	w := m.waitersOf(string(key))
	for e := w.first(waitRecovery); e != nil && time.Since(e.waiting) > e.manifest.StartTimeout; e = w.first(waitRecovery) {
		looks++
		e.failure = err
		m.apply(e, input{kind: inFailing})
		if e.waits == waitRecovery {
			return looks // nothing moves it: the next failure tries again
		}
	}
	if e := w.first(waitLaunch); e != nil {
		looks++
		e.failure = err
		m.apply(e, input{kind: inStartFailed})
	}
	return looks
}
