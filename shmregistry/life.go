package shmregistry

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"understudy/shmregistry/segment"
)

// Prepared is a segment as a worker gets it.
type Prepared struct {
	Name string
	Size int64  // bytes of data
	Path string // where other programs open it; "" for a memfd, and for one whose name is lost
	FD   int    // the registry's: open until Died or Remove takes the segment away
}

// Prepare returns, in the order of specs, what the worker of that epoch gets:
// the binding's handover segments, which the first call makes, and unlink
// segments made for this epoch alone. Saying it again returns the same.
//
// It writes nothing to disk and may be called where nobody must wait: a memfd
// takes some 10 µs at any size. But the memory of a named segment is taken at
// once, 0.1 ms and more for each MiB of a new one. It fails with [ErrSpec],
// with [ErrLimit], or with the kernel's error, always naming the segment, and
// leaves nothing behind then.
func (r *Registry) Prepare(name string, epoch uint64, specs []Spec) ([]Prepared, error) {
	if err := check(name, specs); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	b := r.bindingFor(name)
	b.highest = max(b.highest, epoch)
	prepared := make([]Prepared, len(specs))
	var made []*record
	for i, spec := range specs {
		rec := b.find(spec.Name, spec.OnDeath, epoch)
		err := b.fits(rec, spec)
		if rec != nil {
			r.mendHeader(b, rec)
		}
		if err == nil && rec == nil {
			rec, err = r.makeSegment(b, epoch, spec)
			if err == nil {
				made = append(made, rec)
			}
		}
		if err != nil {
			for _, rec := range made {
				r.remove(b, rec)
			}
			r.totals.Made -= int64(len(made))
			r.forgetEmpty(b)
			return nil, fmt.Errorf("segments of %s: %w", name, err)
		}
		prepared[i] = Prepared{Name: spec.Name, Size: spec.Size, Path: rec.Path, FD: rec.fd}
	}
	b.claimed = true
	for _, spec := range specs {
		if rec := b.find(spec.Name, spec.OnDeath, epoch); rec.State == Stray {
			r.set(rec, Waiting, rec.Epoch, Owner{})
		}
	}
	return prepared, nil
}

// LastEpoch is the highest epoch that a binding's segments know of, 0 without
// any. After a restart a worker of the life before may still write at it: the
// next one must be above, or it would not be told apart.
func (r *Registry) LastEpoch(name string) (epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bindings[name]
	if b == nil {
		return 0
	}
	for _, rec := range b.records {
		epoch = max(epoch, rec.Epoch)
		if info, err := segment.Read(rec.fd); err == nil { // what is no segment any more, no worker takes
			epoch = max(epoch, epochOf(rec.Entry, info))
		}
	}
	return epoch
}

// farAhead is more epochs than a worker can be ahead of the books: a header
// that says so was scribbled over.
const farAhead = 1 << 20

// epochOf is the epoch of a segment by the books and by its header. An unlink
// segment has one for good.
func epochOf(books Entry, header segment.Info) uint64 {
	if books.Policy == Unlink || header.Epoch > books.Epoch+farAhead {
		return books.Epoch
	}
	return max(books.Epoch, header.Epoch)
}

// HoldsWork says whether a worker has ever had a handover segment of the binding.
func (r *Registry) HoldsWork(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bindings[name]
	return b != nil && slices.ContainsFunc(b.records, func(rec *record) bool {
		info, err := segment.Read(rec.fd)
		return rec.Policy == Handover && (err != nil || info.Epoch > 0)
	})
}

// check says what is wrong with the arguments of Prepare.
func check(name string, specs []Spec) error {
	if name == "" || !utf8.ValidString(name) {
		return fmt.Errorf("%w: %.80q is no binding", ErrSpec, name)
	}
	longest := label{Binding: name, Epoch: math.MaxUint64, Segment: strings.Repeat("x", MaxName)}
	if n := len(longest.String()); n > segment.LabelSize {
		return fmt.Errorf("%w: %.80q… is too long for a binding: a label with it has %d bytes, expected at most %d",
			ErrSpec, name, n, segment.LabelSize)
	}
	if err := ValidateAll(specs); err != nil {
		return fmt.Errorf("segments of %s: %w", name, err)
	}
	return nil
}

// fits says whether the segment that is there is what is asked for. A handover
// segment holds somebody's work: one of another size or kind is not replaced
// behind its owner's back.
func (b *binding) fits(rec *record, spec Spec) error {
	if rec != nil && rec.Size != spec.Size {
		return fmt.Errorf("%w %q: %d bytes asked for, but it has %d; it is kept until its binding ends",
			ErrSpec, spec.Name, spec.Size, rec.Size)
	}
	for _, other := range b.records {
		if other.Segment == spec.Name && other.Policy == Handover && spec.OnDeath != Handover {
			return fmt.Errorf("%w %q: on_death %q asked for, but it is %q; it is kept until its binding ends",
				ErrSpec, spec.Name, spec.OnDeath, other.Policy)
		}
	}
	return nil
}

// makeSegment makes one that is not there, within the limits. The caller has
// the lock.
func (r *Registry) makeSegment(b *binding, epoch uint64, spec Spec) (*record, error) {
	l := r.cfg.Limits
	switch {
	case spec.Size > l.Segment:
		return nil, fmt.Errorf("%q with %d bytes, one may have %d: %w", spec.Name, spec.Size, l.Segment, ErrLimit)
	case spec.Size > l.Binding-b.bytes:
		return nil, fmt.Errorf("%q with %d bytes beside %d, a binding may have %d: %w", spec.Name, spec.Size, b.bytes, l.Binding, ErrLimit)
	case spec.Size > l.Total-r.bytes:
		return nil, fmt.Errorf("%q with %d bytes beside %d, all may have %d: %w", spec.Name, spec.Size, r.bytes, l.Total, ErrLimit)
	}
	now := time.Now().UTC()
	made := label{Binding: b.name, Epoch: epoch, Segment: spec.Name}
	rec := &record{
		Entry: Entry{Segment: spec.Name, Binding: b.name, Epoch: epoch, Size: spec.Size, Policy: spec.OnDeath,
			State: Waiting, Created: now, Changed: now},
		label: made, file: made.fileName(r.instance), named: spec.Named,
	}
	var err error
	if spec.Named {
		rec.Path = r.links.public(rec.file)
		rec.fd, err = makeNamed(r.instance, r.links, made, spec)
		if errors.Is(err, os.ErrExist) && r.clearName(rec.file) {
			rec.fd, err = makeNamed(r.instance, r.links, made, spec)
		}
	} else {
		rec.fd, err = makeMemfd(r.instance, made, spec)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", spec.Name, err)
	}
	r.totals.Made++
	r.take(b, rec)
	return rec, nil
}

// clearName removes a segment of ours that is in no record and has the name that
// a new one needs: one whose removal failed. It says whether the name is free.
// The caller has the lock.
func (r *Registry) clearName(file string) bool {
	f, err := openOurs(r.instance, r.links.public(file), file, unix.O_NOFOLLOW)
	if err != nil {
		r.totals.Foreign++
		return false
	}
	defer unix.Close(f.fd)
	if r.links.remove(f.fd, file) != nil {
		return false
	}
	r.totals.Repaired++
	return true
}

// Activated says that the worker of that epoch has become active and has its
// segments. After a restart it fetches the memfds that only this worker still
// has.
func (r *Registry) Activated(name string, epoch uint64, o Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	b := r.bindingFor(name)
	if !b.claimed {
		b.claimed = true
		r.fetch(o, nil)
	}
	for _, rec := range b.records {
		if rec.Epoch == epoch || rec.Policy == Handover && rec.Epoch < epoch {
			r.set(rec, Active, epoch, o)
		}
	}
}

// Died says that the worker of that epoch, and with it all earlier ones, is
// fenced: their unlink segments go, their handover segments wait for the next.
func (r *Registry) Died(name string, epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bindings[name]
	if b == nil || r.closed {
		return
	}
	for _, rec := range append([]*record(nil), b.records...) {
		switch {
		case rec.Epoch > epoch:
		case rec.Policy == Unlink:
			r.remove(b, rec)
			r.totals.Reclaimed++
		case rec.State == Active:
			r.set(rec, Orphaned, rec.Epoch, Owner{})
		}
	}
}

// Remove says that a binding has ended: all that it has goes.
func (r *Registry) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bindings[name]
	if b == nil || r.closed {
		return
	}
	for _, rec := range append([]*record(nil), b.records...) {
		r.remove(b, rec)
		r.totals.Reclaimed++
	}
	delete(r.bindings, name)
}

// remove takes a segment out of the books and out of the shared-memory
// directory. A name that cannot be removed is found again by the next pass,
// since the file stays provably ours. The caller has the lock.
func (r *Registry) remove(b *binding, rec *record) {
	if rec.named {
		r.unwatchNames(rec)
		switch err := r.links.remove(rec.fd, rec.file); {
		case err == nil:
		case errors.Is(err, os.ErrNotExist):
		case errors.Is(err, errForeign):
			r.totals.Foreign++
			r.log.Warn("left a file alone", "error", err)
		default:
			r.totals.RemoveFailures++
			r.log.Warn("a segment's name stays", "error", err)
		}
	}
	if rec.named {
		if r.named--; r.named == 0 {
			r.links.removeFolder()
		}
	}
	b.drop(rec)
	r.bytes -= rec.Size
	r.garbage = append(r.garbage, rec.fd)
	rec.fd = -1
	r.changed()
}

// forgetEmpty drops a binding that has nothing and that nobody asked for. The
// caller has the lock.
func (r *Registry) forgetEmpty(b *binding) {
	if len(b.records) == 0 && !b.claimed {
		delete(r.bindings, b.name)
	}
}
