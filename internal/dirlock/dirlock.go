// Package dirlock takes a directory for one process.
package dirlock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	// ErrLocked says that another supervisor has the directory.
	ErrLocked = errors.New("in use by another supervisor")
	// ErrUnsafe says that another user made the directory or the lock file, or
	// could change what is in the directory.
	ErrUnsafe = errors.New("refused")
)

// Take makes the directory and takes it, by a lock on a file of that name in it
// (flock(2)). The lock goes when the process does, or the file is closed; the
// file says who has it.
//
// Whoever can write to the directory can put his own sockets and files in the
// place of ours. So it must be this user's, and nobody else may write to it;
// others may look into it. Nothing is followed that is a link, and nothing is
// changed before all of this is known. Errors: ErrLocked, ErrUnsafe, the
// kernel's.
func Take(dir, name string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d, err := openOwn(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	f, err := openLock(d, filepath.Join(dir, name), name)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w (pid %s)", dir, ErrLocked, strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	// For people to read; a full disk that cannot say it is no reason not to start.
	if f.Truncate(0) == nil {
		_, _ = fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}

// openOwn opens a directory that is this user's alone to change.
func openOwn(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if info, e := os.Lstat(dir); e == nil && info.Mode().Type() == fs.ModeSymlink {
			return nil, unsafely(dir, "is a symbolic link; name the directory itself")
		}
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	d := os.NewFile(uintptr(fd), dir)
	if err := checkOwn(d, dir); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func checkOwn(d *os.File, dir string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	me := os.Geteuid()
	switch {
	case int(st.Uid) != me:
		return unsafely(dir, "belongs to user %d, not to user %d", st.Uid, me)
	case st.Mode&0o022 != 0:
		return unsafely(dir, "has mode %04o: others than user %d may write to it", st.Mode&0o7777, me)
	}
	return nil
}

// openLock opens the lock file in d, or makes it.
func openLock(d *os.File, path, name string) (*os.File, error) {
	// O_NONBLOCK: a fifo there must not hold us up.
	fd, err := unix.Openat(int(d.Fd()), name, unix.O_CREAT|unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, unsafely(path, "is a symbolic link")
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if err := checkLock(f, path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkLock(f *os.File, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	me := os.Geteuid()
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return unsafely(path, "is not a regular file")
	case int(st.Uid) != me:
		return unsafely(path, "belongs to user %d, not to user %d", st.Uid, me)
	case st.Nlink != 1:
		return unsafely(path, "has %d names: what it says would stand in another file", st.Nlink)
	}
	return nil
}

func unsafely(path, format string, args ...any) error {
	return fmt.Errorf("%s %s: %w", path, fmt.Sprintf(format, args...), ErrUnsafe)
}
