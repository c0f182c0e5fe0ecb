package procfs

import (
	"fmt"
	"os"
)

// HoldsSocket reports whether a process has a descriptor of the socket with an
// inode (stat.st_ino). What cannot be looked at counts as held.
func HoldsSocket(pid int, inode uint64) bool {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return !os.IsNotExist(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return true
	}
	want := fmt.Sprintf("socket:[%d]", inode)
	for _, name := range names {
		if link, err := os.Readlink(dir.Name() + "/" + name); err == nil && link == want {
			return true
		}
	}
	return false
}
