package leak

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"understudy/internal/procfs"
)

// What is known of makers must outlive this process, or a worker that is
// adopted after a restart could never be tidied up after. The file is only
// believed within one boot, for a worker of the same start time, and for an
// object of the same device, inode and birth time. So it needs no fsync: after
// a power loss the boot is another one. A file that cannot be read is only a
// loss of knowledge: it is counted, and written anew.

const (
	memoryVersion = 1
	memoryLimit   = 16 << 20               // bytes
	memoryDelay   = 100 * time.Millisecond // changes within it are written at once
)

type memory struct {
	Version int      `json:"version"`
	Boot    string   `json:"boot"`
	Objects []record `json:"objects"`
}

// record is one object that is proven to be a worker's.
type record struct {
	PID        int    `json:"pid"`
	Start      uint64 `json:"start"` // clock ticks since boot
	Mode       Mode   `json:"mode"`
	Name       string `json:"name"`
	Dev        uint64 `json:"dev"`
	Ino        uint64 `json:"ino"`
	Born       int64  `json:"born"` // ns of the wall clock
	Maker      int    `json:"maker"`
	MakerStart uint64 `json:"maker_start,omitempty"`
}

// bootID names the boot and the pid namespace: in another one our pids would
// stand for other processes.
func bootID() (string, error) {
	boot, err := procfs.BootID()
	if err != nil {
		return "", err
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	return boot + " " + ns, err
}

// readMemory returns what an earlier finder of this boot knew; none is no error.
func readMemory(path, boot string) ([]record, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, memoryLimit+1))
	if err != nil {
		return nil, err
	}
	if len(b) > memoryLimit {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, memoryLimit)
	}
	var m memory
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.Version != memoryVersion {
		return nil, fmt.Errorf("%s: version %d, this program knows %d", path, m.Version, memoryVersion)
	}
	if m.Boot != boot {
		return nil, nil
	}
	return m.Objects, nil
}

// remember takes up what an earlier finder knew. Objects of workers that ended
// meanwhile are decided upon; those of living ones wait for their watch.
func (l *loop) remember() {
	records, err := readMemory(l.f.cfg.StateFile, l.boot)
	if err != nil {
		l.failed("what an earlier run knew is lost", err)
		return
	}
	former := map[record]*worker{} // by PID, Start and Mode
	for _, r := range records {
		o := l.recall(r)
		if o == nil {
			continue
		}
		k := record{PID: r.PID, Start: r.Start, Mode: r.Mode}
		w := former[k]
		if w == nil {
			w = &worker{pid: r.PID, mode: r.Mode, start: r.Start, objects: map[*object]bool{}}
			former[k] = w
			l.former = append(l.former, w)
		}
		l.objects[key{o.dir, o.name}], l.byID[o.id] = o, o
		l.own(o, w)
	}
}

// recall returns the object of a record if it is still the same.
func (l *loop) recall(r record) *object {
	if r.PID <= 0 || r.Start == 0 || r.Maker <= 0 || r.Born == 0 || r.Mode != Report && r.Mode != Remove ||
		r.Name == "" || strings.Contains(r.Name, "/") || strings.HasPrefix(r.Name, OwnPrefix) {
		return nil
	}
	want := identity{r.Dev, r.Ino, r.Born}
	for _, d := range l.dirs {
		if id, _, _, err := d.look(r.Name); err == nil && id == want && l.byID[id] == nil {
			return &object{id: id, dir: d, name: r.Name, maker: r.Maker, start: r.MakerStart, seen: l.born}
		}
	}
	return nil
}

// decideFormer decides on what former workers left that are gone.
func (l *loop) decideFormer() (removed int) {
	living := l.former[:0]
	for _, w := range l.former {
		if procfs.Alive(w.pid, w.start) {
			living = append(living, w)
			continue
		}
		for o := range w.objects {
			if l.decide(o) {
				removed++
			}
		}
	}
	clear(l.former[len(living):])
	l.former = living
	return removed
}

// resume gives a worker the objects that an earlier finder knew to be its own.
func (l *loop) resume(w *worker) {
	living := l.former[:0]
	for _, old := range l.former {
		if old.pid != w.pid || old.start != w.start {
			living = append(living, old)
			continue
		}
		for o := range old.objects {
			o.worker = w
			w.objects[o] = true
		}
	}
	clear(l.former[len(living):])
	l.former = living
}

// save writes what is known, if it changed and its time has come.
func (l *loop) save(now time.Time, force bool) {
	if l.saveAt.IsZero() || !force && now.Before(l.saveAt) {
		return
	}
	l.saveAt = time.Time{}
	m := memory{Version: memoryVersion, Boot: l.boot, Objects: []record{}}
	for _, o := range l.byID {
		if w := o.worker; w != nil && o.unproven == "" && o.id.born != 0 && w.start != 0 {
			m.Objects = append(m.Objects, record{w.pid, w.start, w.mode, o.name, o.id.dev, o.id.ino, o.id.born, o.maker, o.start})
		}
	}
	b, err := json.Marshal(m)
	if err == nil {
		err = replace(l.f.cfg.StateFile, b)
	}
	if err != nil {
		// The next change tries again; until then a restart knows less.
		l.failed("keep what is known for a restart", err)
	}
}

// replace changes the whole file or nothing of it.
func replace(path string, b []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		_ = os.Remove(next) // half of it may be there
		return err
	}
	return os.Rename(next, path)
}

// Remembers reports whether the state file of an earlier finder of this boot
// knows of any objects. One that cannot be read may.
func Remembers(stateFile string) bool {
	boot, err := bootID()
	if err != nil {
		return true
	}
	records, err := readMemory(stateFile, boot)
	return err != nil || len(records) > 0
}
