package shmregistry

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// nameWatch wakes where a name of a named segment goes. It watches the segments
// themselves, by inotify(7), so that what others do in the shared-memory
// directory wakes nobody: a file's attributes change with the number of its
// names, and a rename moves it.
type nameWatch struct {
	events *os.File
	fd     int
	files  map[int]*record // by watch; under the registry's lock
	stop   chan struct{}
	done   chan struct{}
}

const watchedEvents = unix.IN_ATTRIB | unix.IN_MOVE_SELF

// namePause follows upon each repair of names, so that a program that removes
// them over and over does not keep us busy.
const namePause = 10 * time.Millisecond

// watchNames watches the names of a segment. Where it cannot, the passes of
// Reconcile look. The caller has the lock.
func (r *Registry) watchNames(rec *record) {
	if r.watch == nil && !r.closed {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			r.unwatched(err)
			return
		}
		r.watch = &nameWatch{events: os.NewFile(uintptr(fd), "inotify"), fd: fd, files: map[int]*record{},
			stop: make(chan struct{}), done: make(chan struct{})}
		go r.keepNames(r.watch)
	}
	if r.watch == nil {
		return
	}
	wd, err := unix.InotifyAddWatch(r.watch.fd, fmt.Sprintf("/proc/self/fd/%d", rec.fd), watchedEvents)
	if err != nil {
		r.unwatched(err)
		return
	}
	rec.watch = wd
	r.watch.files[wd] = rec
}

func (r *Registry) unwatched(err error) {
	r.log.Warn("names of segments are not watched; one that is removed comes back at the next pass", "error", err)
}

// unwatchNames is the end of it. The caller has the lock.
func (r *Registry) unwatchNames(rec *record) {
	if r.watch != nil && rec.watch != 0 {
		delete(r.watch.files, rec.watch)
		_, _ = unix.InotifyRmWatch(r.watch.fd, uint32(rec.watch))
	}
	rec.watch = 0
}

// keepNames makes names again as they go.
func (r *Registry) keepNames(w *nameWatch) {
	defer close(w.done)
	buffer := make([]byte, 4096)
	for {
		n, err := w.events.Read(buffer)
		if err != nil {
			return // closed
		}
		if !r.checkNames(w, parseWatches(buffer[:n])) {
			continue
		}
		select {
		case <-w.stop:
			return
		case <-time.After(namePause):
		}
	}
}

// checkNames looks at the segments of some watches, or at all where events were
// lost, and reports whether it had to do something.
func (r *Registry) checkNames(w *nameWatch, watches []int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.totals.Repaired
	for _, wd := range watches {
		if wd < 0 {
			for _, rec := range w.files {
				r.checkName(rec)
			}
			break
		}
		if rec := w.files[wd]; rec != nil {
			r.checkName(rec)
		}
	}
	return r.totals.Repaired != before
}

// parseWatches returns the watches of some events, each once where they follow
// each other, and -1 where the queue overflowed (struct inotify_event,
// inotify(7)).
func parseWatches(b []byte) (watches []int) {
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int(int32(binary.NativeEndian.Uint32(b)))
		if len(watches) == 0 || watches[len(watches)-1] != wd {
			watches = append(watches, wd)
		}
		b = b[min(len(b), unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(b[12:]))):]
	}
	return watches
}

// close ends the watch. The caller does not have the lock.
func (w *nameWatch) close() {
	if w == nil {
		return
	}
	close(w.stop)
	_ = w.events.Close()
	<-w.done
}
