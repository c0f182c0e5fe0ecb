package leak

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// patience is how long after a refusal the lease is tried again: the count of
// holders goes down a little after the close was told.
func patience(refused int) time.Duration { return 2 * time.Millisecond << (2 * refused) }

// maxTries of a lease without an event: 2 + 8 + 32 + 128 + 512 ms.
const maxTries = 5

// watch begins to look after a worker.
func (l *loop) watch(r request) {
	pid := r.pid
	if l.workers[pid] != nil {
		l.workers[pid].mode = r.mode
		return
	}
	w := &worker{pid: pid, mode: r.mode, start: r.start, before: map[int]bool{}, objects: map[*object]bool{}}
	since := bootTime()
	if w.start > 0 {
		since = w.start * uint64(tickLength)
	}
	segments, err := systemV()
	if err != nil {
		l.failed("watch a worker", err)
	}
	for _, s := range segments {
		if s.creator == pid {
			w.before[s.id] = true
		}
	}
	l.workers[pid] = w
	l.resume(w)
	l.dirty[w] = true
	// What it made before we were told of it.
	var early []*object
	for _, o := range l.recent {
		switch {
		case o.worker != nil || o.seen < since || l.byID[o.id] != o:
		case o.maker == pid || o.group == pid:
			l.own(o, w)
		case o.maker == 0:
			early = append(early, o)
		}
	}
	l.search(early, map[int]*worker{pid: w})
	if since < l.born {
		l.adopt(w)
	}
	l.recent = slices.DeleteFunc(l.recent, func(o *object) bool { return o.worker != nil })
}

// ended decides on what a worker left.
func (l *loop) ended(pid int) {
	w := l.workers[pid]
	if w == nil {
		return
	}
	delete(l.workers, pid)
	l.dirty[w] = true
	left := make([]*object, 0, len(w.objects))
	for o := range w.objects {
		left = append(left, o)
	}
	slices.SortFunc(left, func(a, b *object) int { return strings.Compare(a.name, b.name) })
	for _, o := range left {
		l.decide(o)
	}
	l.endedV(w)
}

func (l *loop) decide(o *object) (removed bool) {
	switch {
	case o.worker.mode == Report:
		l.tell(o, Reported, "adopt: report")
		l.drop(o)
	case o.unproven != "":
		l.f.count(func(c *Counters) { c.Unproven++ })
		l.tell(o, Kept, "not proven to be the worker's: "+o.unproven)
		l.drop(o)
	case l.unsafe != "":
		l.tell(o, Kept, l.unsafe)
		l.drop(o)
	default:
		return l.attempt(o)
	}
	return false
}

// attempt removes the object of an ended worker if nobody holds it.
func (l *loop) attempt(o *object) (removed bool) {
	_, size, _, _ := o.dir.look(o.name)
	err := o.remove()
	switch {
	case err == nil:
		why := "its worker is gone and nobody holds it"
		l.report(Finding{o.worker.pid, kindOf(o.dir, o.name), o.name, size, Removed, why})
		l.drop(o)
		return true
	case errors.Is(err, errHeld), errors.Is(err, errMaker):
		l.postpone(o, err)
	case errors.Is(err, errGone), errors.Is(err, errChanged):
		l.drop(o) // an event of it is on its way, or was lost
	default:
		l.tell(o, Kept, err.Error())
		l.drop(o)
	}
	return false
}

// postpone waits for the others to close it.
func (l *loop) postpone(o *object, why error) {
	l.pending[o] = true
	if o.tries < maxTries {
		l.due[o] = time.Now().Add(patience(o.tries))
		o.tries++
		return
	}
	delete(l.due, o)
	if !o.told {
		o.told = true
		l.tell(o, Kept, why.Error())
	}
}

// retry tries those whose time has come.
func (l *loop) retry(now time.Time) {
	for o, at := range l.due {
		if !at.After(now) {
			l.attempt(o)
		}
	}
	for _, p := range l.pendingV {
		if !p.due.IsZero() && !p.due.After(now) {
			l.attemptV(p)
		}
	}
}

// reconcile looks at everything again that others held.
func (l *loop) reconcile() (removed int) {
	l.searchRecent()
	removed = l.decideFormer()
	for o := range l.pending {
		if l.attempt(o) {
			removed++
		}
	}
	for _, p := range l.pendingV {
		if l.attemptV(p) {
			removed++
		}
	}
	return removed
}

func (l *loop) tell(o *object, a Action, why string) {
	_, size, _, err := o.dir.look(o.name)
	if err != nil {
		return // gone meanwhile: nothing is left behind
	}
	l.report(Finding{o.worker.pid, kindOf(o.dir, o.name), o.name, size, a, why})
}

func (l *loop) report(f Finding) {
	l.f.count(func(c *Counters) {
		switch f.Action {
		case Removed:
			c.Removed++
		case Reported:
			c.Reported++
		case Kept:
			c.Kept++
		}
	})
	l.f.cfg.OnFinding(f)
}
