package shmregistry

import (
	"errors"
	"os"
	"time"
)

// checkName looks whether a named segment has its name, and makes it again where
// it is gone. A name that cannot be made again, or that is another file's now, is
// lost: the segment goes on without, and each pass tries again. The caller has
// the lock.
func (r *Registry) checkName(rec *record) {
	path := r.links.public(rec.file)
	err := names(path, rec.fd)
	again := false
	if errors.Is(err, os.ErrNotExist) {
		err = linkFD(rec.fd, path)
		again = err == nil
	}
	if err == nil {
		err = r.links.makeKept(rec.fd, rec.file)
		if again || rec.Path == "" {
			r.totals.NamesAgain++
			r.setPath(rec, path, Repair{Action: NamedAgain, Why: "somebody removed its name " + path + "; it is there again"})
		}
		if err != nil && !rec.unkept {
			r.log.Warn("a segment's name cannot be made again once it is removed", "path", path, "error", err)
		}
		rec.unkept = err != nil
		return
	}
	if rec.Path != "" {
		r.totals.NamesLost++
		r.setPath(rec, "", Repair{Action: NameLost, Why: "somebody took its name " + path + ", and it cannot be made again: " + err.Error()})
	}
}

// setPath notes that a name came or went. The caller has the lock.
func (r *Registry) setPath(rec *record, path string, told Repair) {
	if rec.Path != path {
		rec.Path = path
		rec.Changed = time.Now().UTC()
		r.changed()
	}
	r.totals.Repaired++
	r.tell(rec, told)
}
