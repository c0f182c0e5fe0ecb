package shmregistry

import (
	"cmp"
	"slices"
	"time"

	"understudy/shmregistry/segment"
)

// State is where a segment is in its life.
type State string

const (
	Waiting  State = "prepared" // made for a worker that has not become active yet
	Active   State = "active"   // its owner has it
	Orphaned State = "orphaned" // its owner is dead, and the next active worker will get it
	Stray    State = "stray"    // found to be ours, but by no record of it; nobody has asked for it yet
)

// Entry is what the registry knows of one segment.
type Entry struct {
	Segment string    `json:"segment"`
	Binding string    `json:"binding"`
	Epoch   uint64    `json:"epoch"` // of the worker that has it or will get it
	Size    int64     `json:"size"`  // bytes of data
	Policy  Policy    `json:"policy"`
	Path    string    `json:"path"` // "" where it has no name, or lost it
	Owner   Owner     `json:"owner"`
	State   State     `json:"state"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"` // when its state, owner or name last changed
}

// record is an entry and the descriptor behind it. Its own is what does not
// change: the file's name and label carry the epoch that the segment was made
// for, while a handover segment's entry moves on.
type record struct {
	Entry
	label  label
	file   string        // its name in the shared-memory directory, or as a memfd
	named  bool          // it has names in the shared-memory directory, or had
	watch  int           // of its names: an inotify watch, 0 where there is none
	unkept bool          // it has no second name: that was logged
	fd     int           // open as long as the record is in a binding's list
	known  segment.Known // of its header
	dead   bool          // the last reconcile pass found its owner dead
}

// binding is what one binding has.
type binding struct {
	name    string
	claimed bool // somebody has asked for it since the registry was opened
	records []*record
	bytes   int64
	highest uint64 // epoch that it was asked for, or that one of its segments has
}

func (b *binding) add(rec *record) {
	b.records = append(b.records, rec)
	b.bytes += rec.Size
	b.highest = max(b.highest, rec.Epoch)
}

func (b *binding) drop(rec *record) {
	i := slices.Index(b.records, rec)
	b.records = slices.Delete(b.records, i, i+1)
	b.bytes -= rec.Size
}

// find returns what a worker of the epoch would get by that name.
func (b *binding) find(name string, policy Policy, epoch uint64) *record {
	for _, rec := range b.records {
		if rec.Segment == name && rec.Policy == policy && (policy == Handover || rec.Epoch == epoch) {
			return rec
		}
	}
	return nil
}

func sortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Binding, b.Binding), cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Epoch, b.Epoch))
	})
}
