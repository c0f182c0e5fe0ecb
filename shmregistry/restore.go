package shmregistry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/shmregistry/segment"
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

// found is a named segment that is in the shared-memory directory and provably ours.
type found struct {
	tok, name, file string
	epoch           uint64
	policy          Policy
	info            segment.Info
	fd              int
	made            time.Time
}

// scan looks for named segments of ours that skip does not know. What has our name but not our header is left alone
// and counted, by number, in foreign.
func (r *Registry) scan(skip func(file string) bool) (all []found, foreign int64, err error) {
	dir, err := os.Open(r.cfg.ShmDir)
	if err != nil {
		return nil, 0, fmt.Errorf("looking for segments: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, 0, fmt.Errorf("looking for segments in %s: %w", r.cfg.ShmDir, err)
	}
	for _, file := range names {
		if !strings.HasPrefix(file, r.instance.prefix()) || skip(file) {
			continue
		}
		tok, epoch, name, ok := parseFileName(r.instance, file)
		if !ok {
			foreign++
			continue
		}
		fd, info, policy, err := openOurs(r.instance, filepath.Join(r.cfg.ShmDir, file))
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) { // it may have gone since
				foreign++
			}
			continue
		}
		all = append(all, found{tok: tok, name: name, file: file, epoch: epoch, policy: policy, info: info, fd: fd, made: changeTime(fd)})
	}
	return all, foreign, nil
}

// changeTime is when the file was last changed, or now.
func changeTime(fd int) time.Time {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return time.Now().UTC()
	}
	return time.Unix(st.Mtim.Unix()).UTC()
}

// restore makes the books from what the file says and from what is there. Nobody else has the registry yet.
func (r *Registry) restore(entries []Entry) {
	all, foreign, err := r.scan(func(string) bool { return false })
	if err != nil {
		r.log.Warn("named segments cannot be looked for", "error", err)
	}
	r.totals.Foreign += foreign
	named := map[string]found{}
	for _, f := range all {
		named[f.file] = f
	}
	memfds := map[Owner][]Entry{}
	var unnamed []Entry
	for _, e := range entries {
		if e.Path == "" {
			memfds[e.Owner] = append(memfds[e.Owner], e)
			unnamed = append(unnamed, e)
			continue
		}
		file := filepath.Base(e.Path)
		f, is := named[file]
		if !is || f.tok != token(e.Binding) || f.name != e.Segment || f.info.Size != e.Size || f.policy != e.Policy {
			r.miss(e, "its name is gone")
			continue
		}
		delete(named, file)
		b := r.bindingFor(e.Binding)
		e.Path = filepath.Join(r.cfg.ShmDir, file)
		rec := &record{Entry: e, file: file, fd: f.fd}
		rec.Epoch = epochOf(rec.Epoch, f.info)
		r.take(b, rec)
		if rec.State == Waiting { // for a worker of a life that is over
			r.set(rec, unowned(f), rec.Epoch, Owner{})
		}
		r.ownerless(b, rec)
	}
	for _, f := range named {
		r.takeStray(f)
	}
	for owner, entries := range memfds {
		if owner.Alive() {
			r.fetch(owner, entries)
		}
	}
	r.fetchFromAnybody(unnamed)
	for _, e := range unnamed {
		if b := r.bindings[token(e.Binding)]; b == nil || b.find(e.Segment, e.Policy, e.Epoch) == nil {
			r.miss(e, "nobody has it any more")
		}
	}
	for _, b := range r.bindings {
		r.forgetEmpty(b)
	}
}

// miss counts a segment of the file that is not there any more. That an unlink segment went with its worker, or a
// memfd with the supervisor that made it ahead, is as it should be.
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

// ownerless deals with a segment whose owner died while nobody watched.
func (r *Registry) ownerless(b *binding, rec *record) {
	if rec.State != Active || rec.Owner.Alive() {
		return
	}
	if rec.Policy == Unlink {
		r.remove(b, rec)
		r.totals.Reclaimed++
		return
	}
	r.set(rec, Orphaned, rec.Epoch, Owner{})
}

// unowned is the state of a named segment that no worker has: with work in it, it waits for one.
func unowned(f found) State {
	if f.policy == Handover && f.info.Epoch > 0 {
		return Orphaned
	}
	return Stray
}

// takeStray takes in a named segment that no record knows. The caller has the lock.
func (r *Registry) takeStray(f found) {
	b := r.bindingAt(f.tok)
	r.take(b, &record{
		Entry: Entry{Segment: f.name, Binding: b.name, Epoch: epochOf(f.epoch, f.info), Size: f.info.Size, Policy: f.policy,
			Path: filepath.Join(r.cfg.ShmDir, f.file), State: unowned(f), Created: f.made, Changed: time.Now().UTC()},
		file: f.file, fd: f.fd,
	})
	r.totals.Taken++
	r.totals.Repaired++
	r.log.Info("took in a segment that no record knew", "segment", f.name, "process_id", b.name, "epoch", f.epoch)
}
