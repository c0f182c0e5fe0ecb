package leak

import (
	"errors"
	"io"
	"os"
	"strings"
)

// adopt finds what a worker that is older than the finder has open or mapped.
// Who made it cannot be known any more, so it is only ever reported.
func (l *loop) adopt(w *worker) {
	started := w.started()
	if started.IsZero() {
		return
	}
	l.drain() // what an event tells of is not for here
	var found []*object
	for _, d := range l.dirs {
		names, err := d.list()
		if err != nil {
			l.failed("list "+d.path, err)
		}
		for _, name := range names {
			id, _, _, err := d.look(name)
			if err != nil || l.byID[id] != nil {
				continue
			}
			// A tick of slack: the worker's start is known to a tick. What was born
			// since we listen has its event still to come.
			if id.born != 0 && (id.born < started.UnixNano()-2*tickLength || id.born > l.since) {
				continue
			}
			found = append(found, &object{id: id, dir: d, name: name, seen: l.born, unproven: "it was made before it could be watched"})
		}
	}
	l.search(found, map[int]*worker{w.pid: w})
	for _, o := range found {
		if o.worker != nil {
			l.objects[key{o.dir, o.name}], l.byID[o.id] = o, o
		}
	}
}

// list returns the names in the directory that are not the registry's, up to
// maxListed.
func (d *directory) list() ([]string, error) {
	dir, err := os.Open(d.self())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	all, err := dir.Readdirnames(maxListed)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	names := all[:0]
	for _, name := range all {
		if !strings.HasPrefix(name, OwnPrefix) {
			names = append(names, name)
		}
	}
	return names, err
}
