package shmregistry

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Reconcile makes registry and reality agree, and returns how many differences
// it repaired; in a healthy run none. It is for a timer: it looks at each
// segment's name and owner.
//
//   - A name that somebody removed: made again, where that was not noticed yet.
//   - A header that somebody overwrote: written again.
//   - An owner that has been dead since the last pass: as [Registry.Died].
//   - A named segment of ours without a record: taken in; removed by a later
//     pass where nobody asked for it and nobody has it open.
func (r *Registry) Reconcile() (repaired int) { return r.reconcile(true) }

// reconcile removes strays only where removing is set.
func (r *Registry) reconcile(removing bool) (repaired int) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return 0
	}
	before := r.totals.Repaired
	looks := r.looks()
	r.mu.Unlock()

	// What takes system calls is done without the lock, and judged again under it.
	known := map[string]bool{}
	for i := range looks {
		looks[i].look()
		if looks[i].rec.named {
			known[looks[i].rec.file] = true
		}
	}
	all, foreign, err := r.scan(func(file string) bool { return known[file] })
	if err != nil {
		r.log.Warn("named segments cannot be looked for", "error", err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		for _, f := range all {
			_ = unix.Close(f.fd)
		}
		return 0
	}
	r.totals.Foreign = max(r.totals.Foreign, foreign)
	for _, l := range looks {
		if l.rec.fd >= 0 && l.rec.Entry == l.entry {
			r.repair(l, removing)
		}
	}
	for _, f := range all {
		if b := r.bindings[f.Binding]; b != nil && b.hasFile(f.file) { // made while we looked
			_ = unix.Close(f.fd)
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(f.fd, &st) != nil || st.Nlink == 0 { // made and removed meanwhile
			_ = unix.Close(f.fd)
			continue
		}
		r.takeStray(f)
	}
	return int(r.totals.Repaired - before)
}

// look is what a pass found out about one segment.
type look struct {
	binding *binding
	rec     *record
	entry   Entry // as it was before
	ownless bool
}

func (r *Registry) looks() (looks []look) {
	for _, b := range r.bindings {
		for _, rec := range b.records {
			looks = append(looks, look{binding: b, rec: rec, entry: rec.Entry})
		}
	}
	return looks
}

func (l *look) look() { l.ownless = l.entry.State == Active && !l.entry.Owner.Alive() }

// repair acts on what was found. The caller has the lock, and has seen that the
// entry is as it was.
func (r *Registry) repair(l look, removing bool) {
	rec := l.rec
	if rec.named {
		r.checkName(rec)
	}
	r.mendHeader(l.binding, rec)
	switch {
	case l.ownless && !rec.dead:
		rec.dead = true // its death is being told, or not: the next pass knows
	case l.ownless:
		r.totals.Repaired++
		r.tell(rec, Repair{Action: OwnerDead, Why: fmt.Sprintf("its worker, process %d, is dead", rec.Owner.PID)})
		r.ownerless(l.binding, rec)
	case !removing:
	case rec.State == Stray && !l.binding.claimed && !rec.dead:
		rec.dead = true
	case rec.State == Stray && !l.binding.claimed && heldByNobody(rec.fd):
		r.totals.Repaired++
		r.totals.Reclaimed++
		r.tell(rec, Repair{Action: Cleared, Why: "nobody asked for it and nobody has it open"})
		r.remove(l.binding, rec)
		r.forgetEmpty(l.binding)
	}
}

func (b *binding) hasFile(file string) bool {
	for _, rec := range b.records {
		if rec.file == file && rec.named {
			return true
		}
	}
	return false
}

// Sweep removes what no living worker and no binding needs, and returns it:
// segments that nobody has asked for since the registry was opened, whose owner
// is dead, and which nobody has open. With dryRun it only tells.
func (r *Registry) Sweep(dryRun bool) ([]Entry, error) {
	r.reconcile(false) // to see what is there now
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, ErrClosed
	}
	failures := r.totals.RemoveFailures
	var swept []Entry
	for _, b := range r.bindings {
		for _, rec := range append([]*record(nil), b.records...) {
			if b.claimed && rec.State != Stray || rec.Owner.Alive() || !heldByNobody(rec.fd) {
				continue
			}
			swept = append(swept, rec.Entry)
			if !dryRun {
				r.remove(b, rec)
				r.totals.Reclaimed++
			}
		}
		r.forgetEmpty(b)
	}
	failures = r.totals.RemoveFailures - failures
	r.mu.Unlock()
	sortEntries(swept)
	if failures > 0 {
		return swept, fmt.Errorf("sweeping segments: %d of %d names could not be removed", failures, len(swept))
	}
	if dryRun {
		return swept, nil
	}
	return swept, r.Sync()
}
