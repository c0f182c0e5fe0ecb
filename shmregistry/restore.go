package shmregistry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// load reads the file and settles the registry's identity.
func (r *Registry) load() ([]Entry, error) {
	path := filepath.Join(r.cfg.StateDir, FileName)
	known, isKnown := readInstance(r.cfg.StateDir)
	i, entries, err := readFile(path)
	switch {
	case err == nil:
		r.instance = i // the two differ where somebody copied one of the files; names were made by this one
		return entries, nil
	case errors.Is(err, os.ErrNotExist):
	case errors.Is(err, ErrDamaged):
		r.totals.Damaged++
		aside, asideErr := keepAside(path, time.Now().UTC().Format("20060102T150405Z"))
		r.log.Error("the segment registry is damaged; going on with what the segments themselves say",
			"error", err, "kept_as", aside, "keeping", asideErr)
		if i != (instance{}) {
			known, isKnown = i, true
		}
	default:
		return nil, err
	}
	if !isKnown {
		known = newInstance()
	}
	r.instance = known
	return nil, nil
}

// seat is what a segment of a binding is: there is one of each.
type seat struct {
	binding, segment string
	policy           Policy
	epoch            uint64 // of an unlink segment; a handover segment is there for all
}

func seatOf(binding, segment string, policy Policy, epoch uint64) seat {
	if policy == Handover {
		epoch = 0
	}
	return seat{binding, segment, policy, epoch}
}

func (f found) seat() seat { return seatOf(f.Binding, f.Segment, f.policy, f.Epoch) }
func (e Entry) seat() seat { return seatOf(e.Binding, e.Segment, e.Policy, e.Epoch) }

// scan looks for named segments of ours that skip does not know, under either of
// their names. What has our name but not our header is left alone and counted, by
// number, in foreign.
func (r *Registry) scan(skip func(file string) bool) (all []found, foreign int64, err error) {
	kept, err := os.ReadDir(r.links.keep)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, 0, fmt.Errorf("looking for segments: %w", err)
	}
	dir, err := os.Open(r.links.dir)
	if err != nil {
		return nil, 0, fmt.Errorf("looking for segments: %w", err)
	}
	defer dir.Close()
	public, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, 0, fmt.Errorf("looking for segments in %s: %w", r.links.dir, err)
	}
	seen := map[string]bool{}
	take := func(file, path string) (ok bool) {
		if !r.instance.ours(file) || skip(file) || seen[file] {
			return true
		}
		f, err := openOurs(r.instance, path, file, unix.O_NOFOLLOW)
		if err != nil {
			return errors.Is(err, os.ErrNotExist) // it may have gone since
		}
		seen[file] = true
		all = append(all, f)
		return true
	}
	for _, e := range kept {
		take(e.Name(), r.links.kept(e.Name()))
	}
	for _, file := range public {
		if !take(file, r.links.public(file)) {
			foreign++
		}
	}
	return all, foreign, nil
}

// restore makes the books from what the file says and from what is there.
// Nobody else has the registry yet.
func (r *Registry) restore(entries []Entry) {
	r.mu.Lock() // a name may go meanwhile
	defer r.mu.Unlock()
	all, foreign, err := r.scan(func(string) bool { return false })
	if err != nil {
		r.log.Warn("named segments cannot be looked for", "error", err)
	}
	r.totals.Foreign += foreign
	named := map[seat][]found{} // more than one where a removal failed
	for _, f := range all {
		named[f.seat()] = append(named[f.seat()], f)
	}
	memfds := map[Owner][]Entry{}
	var unnamed []Entry
	for _, e := range entries {
		here := named[e.seat()]
		at := slices.IndexFunc(here, func(f found) bool { return e.Path == "" || f.file == filepath.Base(e.Path) })
		if at < 0 && e.Path == "" {
			memfds[e.Owner] = append(memfds[e.Owner], e)
			unnamed = append(unnamed, e)
			continue
		}
		if at < 0 || here[at].info.Size != e.Size {
			r.miss(e, "its name is gone")
			continue
		}
		f := here[at]
		named[e.seat()] = slices.Delete(here, at, at+1)
		e.Path = r.links.public(f.file)
		b := r.bindingFor(e.Binding)
		rec := &record{Entry: e, label: f.label, file: f.file, named: true, fd: f.fd}
		rec.Epoch = epochOf(e, f.info)
		r.take(b, rec)
		if rec.State == Waiting { // for a worker of a life that is over
			r.set(rec, unowned(f), rec.Epoch, Owner{})
		}
		if r.ownerless(b, rec) {
			r.checkName(rec)
		}
	}
	for _, rest := range named {
		for _, f := range rest {
			r.takeStray(f)
		}
	}
	for owner, entries := range memfds {
		if owner.Alive() {
			r.fetch(owner, entries)
		}
	}
	r.fetchFromAnybody(unnamed)
	for _, e := range unnamed {
		if b := r.bindings[e.Binding]; b == nil || b.find(e.Segment, e.Policy, e.Epoch) == nil {
			r.miss(e, "nobody has it any more")
		}
	}
	for _, b := range r.bindings {
		r.forgetEmpty(b)
	}
	r.repairs = nil // an earlier life's; they are logged and counted
}

// miss counts a segment of the file that is not there any more. That an unlink
// segment went with its worker, or a memfd with the supervisor that made it
// ahead, is as it should be.
func (r *Registry) miss(e Entry, why string) {
	if e.Path == "" && (e.Policy == Unlink || e.State == Waiting) {
		return
	}
	r.totals.Repaired++
	if e.Policy == Handover {
		r.totals.Lost++
	}
	r.log.Warn("a segment is forgotten", "segment", e.Segment, "process_id", e.Binding, "epoch", e.Epoch, "why", why)
}

// ownerless deals with a segment whose owner died while nobody watched. It says
// whether the segment is still there.
func (r *Registry) ownerless(b *binding, rec *record) bool {
	if rec.State != Active || rec.Owner.Alive() {
		return true
	}
	if rec.Policy == Unlink {
		r.remove(b, rec)
		r.totals.Reclaimed++
		return false
	}
	r.set(rec, Orphaned, rec.Epoch, Owner{})
	return true
}

// unowned is the state of a named segment that no worker has: with work in it,
// it waits for one.
func unowned(f found) State {
	if f.policy == Handover && f.info.Epoch > 0 {
		return Orphaned
	}
	return Stray
}

// takeStray takes in a named segment that no record knows. The caller has the
// lock.
func (r *Registry) takeStray(f found) {
	b := r.bindingFor(f.Binding)
	e := Entry{Segment: f.Segment, Binding: b.name, Epoch: f.Epoch, Size: f.info.Size, Policy: f.policy,
		Path: r.links.public(f.file), State: unowned(f), Created: f.made, Changed: time.Now().UTC()}
	e.Epoch = epochOf(e, f.info)
	rec := &record{Entry: e, label: f.label, file: f.file, named: true, fd: f.fd}
	r.take(b, rec)
	r.checkName(rec)
	r.totals.Taken++
	r.totals.Repaired++
	r.tell(rec, Repair{Action: TakenIn, Why: "no record knew it"})
}
