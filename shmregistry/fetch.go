package shmregistry

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/shmregistry/segment"
)

// fetch gets the memfds that a worker was given by an earlier life of this supervisor. Nothing else keeps them: they
// have no name. They are reached through the worker's descriptors, or, where it closed those and keeps the mapping,
// through /proc/PID/map_files, which takes CAP_CHECKPOINT_RESTORE (proc_pid_map_files(5)). The caller has the lock.
//
// entries is what the file says of this owner; a segment that it does not know tells enough about itself.
func (r *Registry) fetch(o Owner, entries []Entry) {
	known := map[knownKey]Entry{}
	for _, e := range entries {
		known[knownKey{token(e.Binding), e.Segment, e.Policy}] = e
	}
	for _, dir := range []string{"fd", "map_files"} {
		for _, link := range memfdLinks(o.PID, dir, r.instance) {
			tok, epoch, name, ok := parseFileName(r.instance, link.file)
			if !ok || !o.Alive() {
				continue
			}
			fd, info, policy, err := openOurMemfd(r.instance, link.path)
			if err != nil {
				continue
			}
			b := r.bindingAt(tok)
			e, is := known[knownKey{tok, name, policy}]
			if is = is && (policy == Handover || e.Epoch == epoch); !is {
				e = Entry{Segment: name, Epoch: epoch, Size: info.Size, Policy: policy, Created: changeTime(fd)}
			}
			if e.Owner != o {
				e.State, e.Owner, e.Changed, is = Active, o, time.Now().UTC(), false
			}
			e.Epoch = epochOf(e.Epoch, info)
			if b.find(name, policy, e.Epoch) != nil {
				_ = unix.Close(fd)
				continue
			}
			e.Binding = b.name
			if !is {
				r.totals.Taken++
				r.totals.Repaired++
			}
			r.take(b, &record{Entry: e, file: link.file, fd: fd})
		}
	}
}

// fetchFromAnybody looks for memfds with other processes than the file knows of: it is written behind what happens, and
// what it has not heard of yet a living worker may have. The caller has the lock, or nobody else has the registry.
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

// knownKey names a segment among those of one owner.
type knownKey struct {
	tok, name string
	policy    Policy
}

type memfdLink struct{ path, file string }

// memfdLinks lists links under /proc/PID/dir that lead to memfds with a name of ours. They read
// "/memfd:NAME (deleted)": memfd_create(2).
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
		if is && isDeleted && strings.HasPrefix(file, i.prefix()) {
			links = append(links, memfdLink{path, file})
		}
	}
	return links
}

// openOurMemfd opens a memfd through a link of /proc. Following it is the point; the header proves whose it is.
func openOurMemfd(i instance, path string) (int, segment.Info, Policy, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, segment.Info{}, "", err
	}
	info, err := segment.Read(fd)
	policy, is := ours(i, info)
	if err != nil || !is {
		_ = unix.Close(fd)
		return -1, segment.Info{}, "", fmt.Errorf("%s: %w", path, errForeign)
	}
	return fd, info, policy, nil
}
