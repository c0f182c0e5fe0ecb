package shmregistry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// links are the names of files in the shared-memory directory. A named segment
// has two: one that other programs open it by, and a second in a folder that is
// the supervisor's alone. Openers remove the first: Python's resource tracker
// does when a program that opened it ends. It can be made again only while the
// file has another: linkat(2) refuses a file without any, with ENOENT, however
// many have it open (seen on Linux 6.18, vfs_link in fs/namei.c).
type links struct {
	dir  string // for all
	keep string // ours alone
}

func newLinks(i instance, dir string) links {
	return links{dir: dir, keep: filepath.Join(dir, strings.TrimSuffix(i.prefix(), "."))}
}

func (l links) public(file string) string { return filepath.Join(l.dir, file) }
func (l links) kept(file string) string   { return filepath.Join(l.keep, file) }

// make gives the unnamed file behind fd both names, the public one last. Without
// the second one it is of use too: a pass of Reconcile tries again, and logs why.
func (l links) make(fd int, file string) error {
	_ = l.makeKept(fd, file)
	if err := linkFD(fd, l.public(file)); err != nil {
		_ = unix.Unlink(l.kept(file))
		return err
	}
	return nil
}

// makeKept makes the second name where it is missing. A file of ours that has it
// and is another one is of no use to anybody and makes room.
func (l links) makeKept(fd int, file string) error {
	path := l.kept(file)
	switch err := names(path, fd); {
	case err == nil:
		return nil
	case errors.Is(err, errForeign):
		_ = unix.Unlink(path)
	}
	err := linkFD(fd, path)
	if errors.Is(err, os.ErrNotExist) {
		if err = l.makeFolder(); err == nil {
			err = linkFD(fd, path)
		}
	}
	return err
}

// makeFolder makes the folder of second names. One of another user is refused.
func (l links) makeFolder() error {
	if err := unix.Mkdir(l.keep, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("making %s: %w", l.keep, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(l.keep, &st); err != nil {
		return fmt.Errorf("stat of %s: %w", l.keep, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != uint32(os.Geteuid()) || st.Mode&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of this user alone (mode %#o, uid %d)", l.keep, st.Mode, st.Uid)
	}
	return nil
}

// removeFolder removes it where it is empty.
func (l links) removeFolder() { _ = unix.Rmdir(l.keep) }

// remove removes both names of the file behind fd. The error is about the public
// one: [os.ErrNotExist] says that it is gone already, errForeign that it is
// another file's.
func (l links) remove(fd int, file string) error {
	kept := l.kept(file)
	if names(kept, fd) == nil {
		_ = unix.Unlink(kept)
	}
	public := l.public(file)
	err := names(public, fd)
	if err == nil {
		err = unix.Unlink(public)
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", public, err)
	}
	return nil
}

// linkFD gives the file behind fd a name.
func linkFD(fd int, path string) error {
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("naming %s: %w", path, err)
	}
	return nil
}

// errForeign says that a name of ours stands for a file that is not.
var errForeign = errors.New("it is not the file that was made under this name")

// names says whether the path is a name of the file behind fd: nil,
// [os.ErrNotExist], errForeign, or why it cannot be found out.
func names(path string, fd int) error {
	var named, held unix.Stat_t
	if err := unix.Lstat(path, &named); err != nil {
		return err
	}
	if err := unix.Fstat(fd, &held); err != nil {
		return err
	}
	if named.Dev != held.Dev || named.Ino != held.Ino {
		return errForeign
	}
	return nil
}
