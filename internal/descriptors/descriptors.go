// Package descriptors says how many file descriptors this process has, and how
// many it may have.
package descriptors

import (
	"os"

	"golang.org/x/sys/unix"
)

const folder = "/proc/self/fd"

// Limit is how many there may be: RLIMIT_NOFILE, which the Go runtime raises to
// the hard limit at the start of a program. Children get what it was before.
func Limit() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	return int(min(l.Cur, 1<<31-1)), nil
}

// InUse is how many there are. Since Linux 6.2 it is the size of /proc/self/fd;
// before, that folder is read, which takes longer the more there are.
func InUse() (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(folder, &st); err == nil && st.Size > 0 {
		return int(st.Size), nil
	}
	return listed()
}

func listed() (int, error) {
	d, err := os.Open(folder)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(0)
	return len(names) - 1, err // without d itself
}
