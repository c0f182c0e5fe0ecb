package leak

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// identity tells one object from every other that had or will have its name or
// its inode number. born is 0 where the file system keeps no birth time
// (mqueue, old kernels).
type identity struct {
	dev, ino uint64
	born     int64 // ns of the wall clock
}

// object is a file in one of the watched directories.
type object struct {
	id       identity
	dir      *directory
	name     string
	maker    int     // pid; 0: nobody knows
	group    int     // process group of the maker, 0 if it was gone
	start    uint64  // when the maker started, clock ticks since boot; 0 if it was gone
	seen     uint64  // when we learnt of it, ns of CLOCK_BOOTTIME
	worker   *worker // nil: not a worker's
	unproven string  // why it is not proven to be the worker's; empty: it is
	tries    int     // how often the lease of a pending one was refused in a row
	told     bool    // that it was kept
}

var errNotRegular = errors.New("not a regular file")

// look returns the identity and size of what the name stands for now.
func (d *directory) look(name string) (id identity, size int64, links uint32, err error) {
	return lookAt(d.fd, name, unix.AT_SYMLINK_NOFOLLOW)
}

func lookAt(fd int, name string, flags int) (id identity, size int64, links uint32, err error) {
	var st unix.Statx_t
	err = unix.Statx(fd, name, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err != nil {
		return id, 0, 0, fmt.Errorf("statx %s: %w", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return id, 0, 0, errNotRegular
	}
	id = identity{dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id, int64(st.Size), st.Nlink, nil
}

// used is what Usage needs to measure one object.
type used struct {
	dir  *directory
	name string
	id   identity
}

// account is what Usage knows of one worker.
type account struct {
	files  []used
	before map[int]bool // System V segments that are not its own; never changed
}

// Usage returns how many objects the worker has made that are still there, and
// their size in bytes now.
func (f *Finder) Usage(pid int) (objects int, bytes int64) {
	f.mu.Lock()
	a, watched := f.usage[pid]
	f.mu.Unlock()
	f.files.RLock()
	defer f.files.RUnlock()
	if !watched || f.shut {
		return 0, 0
	}
	for _, u := range a.files {
		if id, size, _, err := u.dir.look(u.name); err == nil && id == u.id {
			objects++
			bytes += size
		}
	}
	segments, err := systemV()
	if err != nil {
		return objects, bytes
	}
	for _, s := range segments {
		if s.creator == pid && !a.before[s.id] {
			objects++
			bytes += s.size
		}
	}
	return objects, bytes
}
