package shmregistry

// Totals is what there is, and what was counted since the registry was opened.
// In a healthy run the counters after Reclaimed stay 0.
type Totals struct {
	Bindings int
	Segments int
	Bytes    int64 // of data

	Made      int64 // segments made
	Reclaimed int64 // segments removed because their worker or their binding ended
	Writes    int64 // attempts to write the file

	WriteFailures  int64
	LastWriteError string // "" where the last write succeeded
	Repaired       int64  // differences between registry and reality that were made to agree
	Damaged        int64  // files of the registry that were damaged and kept aside
	Lost           int64  // handover segments whose contents could not be kept
	NamesAgain     int64  // names that somebody else removed, and that were made again
	NamesLost      int64  // names that somebody else removed, and that could not be made again; the segments live on without
	HeadersMended  int64  // headers that somebody else overwrote, and that were written again
	Foreign        int64  // names of ours found on files that are not, and left alone
	Taken          int64  // segments of ours that the file did not know
	RemoveFailures int64  // names that could not be removed; the next pass tries again
}

// Totals returns the counters.
func (r *Registry) Totals() Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.totals
	t.Bytes = r.bytes
	for _, b := range r.bindings {
		if len(b.records) > 0 {
			t.Bindings++
		}
		t.Segments += len(b.records)
	}
	return t
}

// List returns all segments, ordered by binding, name and epoch.
func (r *Registry) List() []Entry {
	r.mu.Lock()
	entries := r.entries()
	r.mu.Unlock()
	sortEntries(entries)
	return entries
}

// entries copies all entries, in no order. The caller has the lock.
func (r *Registry) entries() []Entry {
	entries := []Entry{}
	for _, b := range r.bindings {
		for _, rec := range b.records {
			entries = append(entries, rec.Entry)
		}
	}
	return entries
}

// Usage returns how many segments a binding has, and how many bytes of data are
// in them.
func (r *Registry) Usage(name string) (segments int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bindings[name]
	if b == nil {
		return 0, 0
	}
	return len(b.records), b.bytes
}
