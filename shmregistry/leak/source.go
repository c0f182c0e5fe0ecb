package leak

// notice is one event in a directory.
type notice struct {
	name     string
	pid      int  // who did it; 0: not known
	made     bool // created or linked
	arrived  bool // renamed to this name
	left     bool // removed or renamed away
	closed   bool // somebody closed or unmapped it
	overflow bool // events were lost; no name
}

// source tells of events in one directory.
type source interface {
	descriptor() int         // to wait on
	read() ([]notice, error) // what is there now, bounded by the buffer; none: nil, nil
	names() bool             // whether it names the process
	close()
}

// openSource returns the best source there is and, if it is not the best one,
// why.
func openSource(d *directory, unprivileged bool) (source, string, error) {
	why := "told not to"
	if !unprivileged {
		s, err := newFanotify(d)
		if err == nil {
			return s, "", nil
		}
		why = err.Error()
	}
	s, err := newInotify(d)
	return s, why, err
}
