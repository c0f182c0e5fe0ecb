package leak

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/procfs"
)

// drain reads all events that are there and finds the makers of new objects.
func (l *loop) drain() {
	for _, d := range l.dirs {
		if d.broken {
			continue
		}
		lost := false
		for range maxReads {
			notices, err := d.watch.read()
			if err != nil {
				// Not again: a queue that fails at once would keep us busy for ever.
				d.broken, lost = true, true
				l.failed("read events of "+d.path+", which is not watched any more", err)
			}
			for _, n := range notices {
				if n.overflow {
					lost = true
					l.f.count(func(c *Counters) { c.Overflows++ })
					continue
				}
				l.handle(d, n)
			}
			if len(notices) == 0 {
				break
			}
		}
		if lost {
			for _, o := range l.fresh {
				if o.dir == d {
					o.unproven = "events were lost when it was made"
				}
			}
		}
		if !d.watch.names() {
			l.searchFresh()
		}
		l.forget()
	}
}

// handle takes in one event. Merged events have lost their order, so what
// counts is what the name stands for now.
func (l *loop) handle(d *directory, n notice) {
	if strings.HasPrefix(n.name, OwnPrefix) {
		return
	}
	k := key{d, n.name}
	if n.made || n.arrived || n.left {
		l.renew(k, n)
	}
	if o := l.objects[k]; n.closed && n.pid != l.self && o != nil && l.pending[o] {
		o.tries = 0
		l.attempt(o)
	}
}

// renew makes the table agree with what the name stands for.
func (l *loop) renew(k key, n notice) {
	id, _, _, err := k.dir.look(k.name)
	old := l.objects[k]
	if old != nil && (err != nil || old.id != id) {
		delete(l.objects, k)
		l.nameless = append(l.nameless, old) // it may turn up under another name
	}
	switch {
	case err != nil:
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, errNotRegular) {
			l.failed("look at a new object", err)
		}
		return
	case !n.made && !n.arrived:
		return
	}
	if o := l.byID[id]; o != nil {
		if o.name != k.name {
			if l.objects[key{o.dir, o.name}] == o {
				delete(l.objects, key{o.dir, o.name})
			}
			o.name = k.name
			l.objects[k] = o
			l.touch(o)
		}
		if n.made && o.maker != n.pid {
			o.unproven = "more than one process is said to have made it"
			l.touch(o)
		}
		return
	}
	o := &object{id: id, dir: k.dir, name: k.name, maker: n.pid, seen: bootTime()}
	switch {
	case n.pid == 0: // inotify, or a process outside our pid namespace
		o.unproven = "nobody saw who made it"
	case !n.made:
		o.unproven = "it was renamed before it was looked at"
	}
	l.objects[k], l.byID[id] = o, o
	l.fresh = append(l.fresh, o)
	l.attribute(o)
}

// attribute finds the worker that made the object: the process itself, its
// group's leader, or an ancestor.
func (l *loop) attribute(o *object) {
	if o.maker > 0 && o.maker != l.self {
		if w := l.workers[o.maker]; w != nil {
			l.own(o, w)
			return
		}
		pid := o.maker
		for range 16 { // generations
			from, err := procfs.ReadStat(pid)
			if err != nil {
				break
			}
			if pid == o.maker {
				o.group, o.start = from.Group, from.Start
				if w := l.workers[from.Group]; w != nil {
					l.own(o, w)
					return
				}
			}
			if pid = from.Parent; pid <= 1 || pid == l.self {
				break
			}
			if w := l.workers[pid]; w != nil {
				l.own(o, w)
				return
			}
		}
	}
	l.recent = append(l.recent, o)
	for len(l.recent) > maxRecent {
		if old := l.recent[0]; old.worker == nil {
			l.drop(old)
		}
		l.recent = l.recent[1:]
	}
}

// own notes that the object is the worker's.
func (l *loop) own(o *object, w *worker) {
	if l.owned >= maxObjects {
		l.f.count(func(c *Counters) { c.Dropped++ })
		l.drop(o)
		return
	}
	l.owned++
	o.worker = w
	// A link gives an old object a new name, and tells of the linker as a maker.
	if started := w.started(); o.unproven == "" && o.id.born != 0 && o.id.born < started.UnixNano()-2*tickLength {
		o.unproven = "it is older than the worker"
	}
	w.objects[o] = true
	l.touch(o)
	l.f.count(func(c *Counters) { c.Attributed++ })
}

// forget ends a round of events: an object without a name now is gone.
func (l *loop) forget() {
	for _, o := range l.nameless {
		if l.objects[key{o.dir, o.name}] != o {
			l.drop(o)
		}
	}
	clear(l.nameless)
	clear(l.fresh)
	l.nameless, l.fresh = l.nameless[:0], l.fresh[:0]
}

// drop takes the object out of mind.
func (l *loop) drop(o *object) {
	if l.objects[key{o.dir, o.name}] == o {
		delete(l.objects, key{o.dir, o.name})
	}
	if l.byID[o.id] == o {
		delete(l.byID, o.id)
	}
	delete(l.pending, o)
	delete(l.due, o)
	if o.worker != nil {
		if o.worker.objects[o] {
			l.owned--
			delete(o.worker.objects, o)
		}
		l.touch(o)
	}
}

func (l *loop) touch(o *object) {
	if o.worker != nil {
		l.dirty[o.worker] = true
		if l.saveAt.IsZero() && l.f.cfg.StateFile != "" {
			l.saveAt = time.Now().Add(memoryDelay)
		}
	}
}

// fileTime in ns of the wall clock, as coarse as birth times are: what is made
// later is not born earlier (fs/inode.c, inode_set_ctime_current).
func fileTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// bootTime in ns: it runs on in suspend and never steps.
func bootTime() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano())
}
