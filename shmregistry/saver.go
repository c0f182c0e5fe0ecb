package shmregistry

import (
	"fmt"
	"time"
)

// retryAfter is how long a failed write of the file waits for the next attempt,
// where nothing changes before.
const retryAfter = time.Second

// keepSaved writes the file whenever it is behind, beside the callers; changes
// that come while it writes are written together. It also tells of repairs, and
// closes what was removed: the last descriptor of a segment frees its memory.
func (r *Registry) keepSaved() {
	defer close(r.done)
	retry := time.NewTimer(0)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-r.wake:
		case <-retry.C:
		}
		r.mu.Lock()
		repairs := r.repairs
		r.repairs = nil
		r.mu.Unlock()
		for _, told := range repairs {
			r.cfg.OnRepair(told)
		}
		if err := r.save(); err != nil {
			retry.Reset(retryAfter)
		}
		r.mu.Lock()
		garbage := r.garbage
		r.garbage = nil
		r.mu.Unlock()
		closeAll(garbage)
	}
}

// save writes the file where it is behind.
func (r *Registry) save() error {
	r.saving.Lock()
	defer r.saving.Unlock()

	r.mu.Lock()
	changes := r.changes
	if changes == r.saved {
		r.mu.Unlock()
		return nil
	}
	entries := r.entries()
	r.mu.Unlock()

	sortEntries(entries)
	err := writeInstance(r.cfg.StateDir, r.instance)
	if err == nil {
		err = writeFile(r.cfg.StateDir, r.instance, entries)
	}
	if err != nil {
		err = fmt.Errorf("writing the segment registry: %w", err)
	}

	r.mu.Lock()
	r.totals.Writes++
	first := false
	if err != nil {
		r.totals.WriteFailures++
		first = r.totals.LastWriteError == ""
		r.totals.LastWriteError = err.Error()
	} else {
		r.totals.LastWriteError = ""
		r.saved = changes
	}
	r.mu.Unlock()
	if first {
		r.log.Warn("the segment registry cannot be written; it goes on in memory and tries again", "error", err)
	}
	return err
}
