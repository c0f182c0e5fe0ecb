package shmregistry

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fetch gets the memfds that a worker was given by an earlier life of this
// supervisor. Nothing else keeps them: they have no name. They are reached
// through the worker's descriptors, or, where it closed those and keeps the
// mapping, through /proc/PID/map_files, which takes CAP_CHECKPOINT_RESTORE
// (proc_pid_map_files(5)). The caller has the lock.
//
// entries is what the file says of this owner; a segment that it does not know
// tells enough about itself.
func (r *Registry) fetch(o Owner, entries []Entry) {
	known := map[seat]Entry{}
	for _, e := range entries {
		known[e.seat()] = e
	}
	for _, dir := range []string{"fd", "map_files"} {
		for _, link := range memfdLinks(o.PID, dir, r.instance) {
			if !o.Alive() {
				continue
			}
			f, err := openOurs(r.instance, link.path, link.file, 0) // following the link is the point
			if err != nil {
				continue
			}
			b := r.bindingFor(f.Binding)
			e, is := known[f.seat()]
			if !is {
				e = Entry{Segment: f.Segment, Binding: f.Binding, Epoch: f.Epoch, Size: f.info.Size, Policy: f.policy, Created: f.made}
			}
			if e.Owner != o {
				e.State, e.Owner, e.Changed, is = Active, o, time.Now().UTC(), false
			}
			e.Epoch = epochOf(e, f.info)
			if b.find(f.Segment, f.policy, e.Epoch) != nil {
				_ = unix.Close(f.fd)
				continue
			}
			if !is {
				r.totals.Taken++
				r.totals.Repaired++
			}
			r.take(b, &record{Entry: e, label: f.label, file: link.file, fd: f.fd})
		}
	}
}

// fetchFromAnybody looks for memfds with other processes than the file knows
// of: it is written behind what happens, and what it has not heard of yet a
// living worker may have. The caller has the lock, or nobody else has the
// registry.
func (r *Registry) fetchFromAnybody(entries []Entry) {
	pids, err := os.ReadDir("/proc")
	if err != nil {
		r.log.Warn("memory of living workers cannot be looked for", "error", err)
		return
	}
	for _, d := range pids {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() || len(memfdLinks(pid, "fd", r.instance)) == 0 {
			continue
		}
		if o, err := OwnerOf(pid); err == nil {
			r.fetch(o, entries)
		}
	}
}

type memfdLink struct{ path, file string }

// memfdLinks lists links under /proc/PID/dir that lead to memfds with a name of
// ours. They read "/memfd:NAME (deleted)": memfd_create(2).
func memfdLinks(pid int, dir string, i instance) (links []memfdLink) {
	base := fmt.Sprintf("/proc/%d/%s", pid, dir)
	d, err := os.Open(base)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		path := filepath.Join(base, n)
		target, err := os.Readlink(path)
		if err != nil {
			continue
		}
		file, is := strings.CutPrefix(target, "/memfd:")
		file, isDeleted := strings.CutSuffix(file, " (deleted)")
		if is && isDeleted && i.ours(file) {
			links = append(links, memfdLink{path, file})
		}
	}
	return links
}
