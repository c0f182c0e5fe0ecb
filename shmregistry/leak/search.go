package leak

import (
	"slices"
	"time"
)

// maxSearches of a new object: at once, and 2, 16 and 128 ms later.
const maxSearches = 4

// searchFresh looks for the holders of what was made in this round. inotify tells of a new
// file before its maker has a descriptor of it, and nothing tells when it has
// (fs/namei.c, lookup_open; the descriptor is installed when open returns).
// Hence a few more looks.
func (l *loop) searchFresh() {
	if len(l.fresh) == 0 {
		return
	}
	l.search(l.fresh, l.workers)
	l.unfound = append(l.unfound, l.fresh...)
	l.searches = 1
	l.lookAgain()
}

// searchDue looks again for those that nobody held.
func (l *loop) searchDue(now time.Time) {
	if l.searchAt.IsZero() || now.Before(l.searchAt) {
		return
	}
	l.search(l.unfound, l.workers)
	l.searches++
	l.lookAgain()
}

// lookAgain sets the time of the next search, if there is anything to search.
func (l *loop) lookAgain() {
	l.unfound = slices.DeleteFunc(l.unfound, func(o *object) bool { return o.worker != nil || l.byID[o.id] != o })
	if over := len(l.unfound) - maxRecent; over > 0 {
		l.unfound = slices.Delete(l.unfound, 0, over)
	}
	l.searchAt = time.Time{}
	if l.searches >= maxSearches || len(l.unfound) == 0 || len(l.workers) == 0 {
		l.unfound = nil
		return
	}
	l.searchAt = time.Now().Add(2 * time.Millisecond << (3 * (l.searches - 1)))
}

// searchRecent looks for the holders of recent objects whose maker is not known.
func (l *loop) searchRecent() {
	var unknown []*object
	for _, o := range l.recent {
		if o.maker == 0 && o.worker == nil && l.byID[o.id] == o {
			unknown = append(unknown, o)
		}
	}
	l.search(unknown, l.workers)
}

// search looks which workers have the objects open or mapped.
func (l *loop) search(objects []*object, workers map[int]*worker) {
	wanted := map[inode]*object{}
	for _, o := range objects {
		if o.worker == nil {
			wanted[inode{o.id.dev, o.id.ino}] = o
		}
	}
	if len(wanted) == 0 {
		return
	}
	for _, w := range workers {
		for o := range holds(w.pid, wanted) {
			if o.worker == nil {
				l.own(o, w)
			}
		}
	}
}
