package shmregistry

import (
	"errors"
	"strings"

	"understudy/shmregistry/segment"
)

// Action says what a repair did.
type Action string

const (
	NamedAgain   Action = "named again"          // a name that somebody removed is there again
	NameLost     Action = "name lost"            // a name is gone for now; the segment goes on without
	HeaderMended Action = "header written again" // what somebody had overwritten of it
	OwnerDead    Action = "owner dead"           // its worker had died and nobody had said so: as after Died
	TakenIn      Action = "taken in"             // a segment of ours without a record; it has one now
	Cleared      Action = "cleared"              // such a segment that nobody wants, which was removed
)

// Repair is something that was wrong with one segment, and what was done.
type Repair struct {
	Entry  Entry // as it is since
	Action Action
	Why    string
}

// maxRepairs bounds the repairs that wait to be told. All are counted.
const maxRepairs = 1000

// tell logs a repair, and has it told. The caller has the lock.
func (r *Registry) tell(rec *record, told Repair) {
	told.Entry = rec.Entry
	r.log.Warn("a segment was repaired", "segment", rec.Segment, "process_id", rec.Binding, "epoch", rec.Epoch,
		"action", string(told.Action), "why", told.Why)
	if r.cfg.OnRepair != nil && len(r.repairs) < maxRepairs {
		r.repairs = append(r.repairs, told)
		r.wakeSaver()
	}
}

// mendHeader compares a segment's header with what the registry knows of it,
// and writes what somebody overwrote: it would make every next worker fail. The
// caller has the lock.
func (r *Registry) mendHeader(b *binding, rec *record) {
	k := &rec.known
	k.Size, k.Creator, k.Label = rec.Size, creator(r.instance, rec.Policy), rec.label.String()
	k.Highest = b.highest
	if !b.claimed {
		k.Highest += farAhead // of a worker of an earlier life
	}
	k.Epoch = k.Lowest
	if rec.State == Active || rec.State == Orphaned {
		k.Epoch = max(k.Epoch, rec.Epoch)
	}
	mended, err := k.Mend(rec.fd)
	if len(mended) > 0 {
		if rec.named { // the file may have been cut
			err = errors.Join(err, reserve(rec.fd, segment.HeaderSize+rec.Size))
		}
		r.totals.HeadersMended++
		r.totals.Repaired++
		r.tell(rec, Repair{Action: HeaderMended, Why: "somebody overwrote its " + strings.Join(mended, ", ")})
	}
	if err != nil {
		r.log.Warn("a segment's header cannot be written again", "segment", rec.Segment, "process_id", rec.Binding, "error", err)
	}
}
