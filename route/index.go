package route

import (
	"hash/maphash"
	"sync/atomic"
)

// index finds entries. It is a hash table with linear probing that many read
// and one writes: a slot goes from empty to its entry once and never changes
// again, so readers need no lock, and a change of a route costs the same however
// many there are. Entries leave when the table is rebuilt, by grow.
type index struct {
	slots []atomic.Pointer[entry] // a power of two, never full
	used  int                     // of the writer
}

const leastSlots = 64

func newIndex(entries int) *index {
	n := leastSlots
	for n < 2*entries {
		n *= 2
	}
	return &index{slots: make([]atomic.Pointer[entry], n)}
}

// hashOf is the same for equal identities within one process.
func hashOf(seed maphash.Seed, i identity) uint64 {
	// Odd factors keep a pattern, a namespace and a session of one name apart.
	h := maphash.String(seed, i.Session) ^ (maphash.String(seed, i.Pattern)+uint64(i.Level))*0x9e3779b97f4a7c15
	if i.Namespace != "" {
		h ^= maphash.String(seed, i.Namespace) * 0xff51afd7ed558ccd
	}
	return h
}

// find returns the entry or nil.
func (x *index) find(hash uint64, i identity) *entry {
	last := uint64(len(x.slots) - 1)
	for at := hash & last; ; at = (at + 1) & last {
		e := x.slots[at].Load()
		if e == nil || e.hash == hash && e.identity == i {
			return e
		}
	}
}

// add enters e, which must not be there. full: it is time to grow.
func (x *index) add(e *entry) (full bool) {
	last := uint64(len(x.slots) - 1)
	at := e.hash & last
	for x.slots[at].Load() != nil {
		at = (at + 1) & last
	}
	x.slots[at].Store(e)
	x.used++
	return x.used > len(x.slots)*3/4
}

// grow returns an index of the entries that keep wants, at most half full, so
// that the cost is spread over the entries added until the next time.
func (x *index) grow(keep func(*entry) bool) *index {
	var kept []*entry
	for e := range x.all {
		if keep(e) {
			kept = append(kept, e)
		}
	}
	next := newIndex(len(kept))
	for _, e := range kept {
		next.add(e)
	}
	return next
}

// all yields every entry.
func (x *index) all(yield func(*entry) bool) {
	for at := range x.slots {
		if e := x.slots[at].Load(); e != nil && !yield(e) {
			return
		}
	}
}
