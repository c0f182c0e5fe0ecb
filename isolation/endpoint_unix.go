package isolation

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/patterns"
)

func (e *endpoint) bindUnix() error {
	if _, err := os.Stat(filepath.Dir(e.address)); errors.Is(err, fs.ErrNotExist) {
		if err := MakeDir(filepath.Dir(filepath.Dir(e.address))); err != nil {
			return err
		}
	}
	// What lies there is ours, or left from a supervisor that is gone: the lock
	// on the runtime directory says that no other one is running.
	if err := fault.Do(fault.EndpointUnlink, func() error { return os.Remove(e.address) }); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fault.Error(fault.EndpointSocket); err != nil {
		return os.NewSyscallError("socket", err)
	}
	fd, err := e.unixSocket()
	if err != nil {
		return err
	}
	e.socket = fd
	if err := fault.Do(fault.EndpointBind, func() error { return unix.Bind(fd, &unix.SockaddrUnix{Name: e.address}) }); err != nil {
		return os.NewSyscallError("bind", err)
	}
	uid, gid, err := ownerOf(e.spec)
	if err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Chown(e.address, uid, gid); err != nil {
			return err
		}
	}
	if err := os.Chmod(e.address, modeOf(e.spec)); err != nil {
		return err
	}
	if e.inode, err = inodeOf(e.address); err == nil {
		e.keepName()
	}
	return err
}

// MakeDir makes the folder of the endpoints in a runtime directory. Where root's
// workers serve all users, everybody may go through to the sockets, which have
// modes of their own, but list nothing.
func MakeDir(runtimeDir string) error {
	dir := filepath.Join(runtimeDir, EndpointDir)
	if err := os.MkdirAll(dir, 0o700); err != nil || os.Geteuid() != 0 {
		return err
	}
	return errors.Join(os.Chmod(runtimeDir, 0o711), os.Chmod(dir, 0o711))
}

func (e *endpoint) unixSocket() (int, error) {
	if e.deep != nil {
		return e.deep.Socket()
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

// modeOf is the permission bits of a unix socket: a daemon that serves a whole
// machine lets everybody connect, as to a TCP port, one of an ordinary user
// nobody else.
func modeOf(spec patterns.Endpoint) os.FileMode {
	switch {
	case spec.Mode != 0:
		return os.FileMode(spec.Mode)
	case os.Geteuid() == 0:
		return 0o666
	}
	return 0o600
}

// ownerOf is whom a unix socket is to belong to, -1 where nothing is said.
func ownerOf(spec patterns.Endpoint) (uid, gid int, err error) {
	uid, gid = -1, -1
	if spec.Owner != "" {
		if uid, err = strconv.Atoi(spec.Owner); err != nil {
			u, err := user.Lookup(spec.Owner)
			if err != nil {
				return 0, 0, err
			}
			uid, _ = strconv.Atoi(u.Uid)
		}
	}
	if spec.Group != "" {
		if gid, err = strconv.Atoi(spec.Group); err != nil {
			g, err := user.LookupGroup(spec.Group)
			if err != nil {
				return 0, 0, err
			}
			gid, _ = strconv.Atoi(g.Gid)
		}
	}
	return uid, gid, nil
}

func inodeOf(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return st.Ino, err
}

// dismiss ends the connections of those who wait. A unix socket that was shut
// down keeps them until its last copy is closed.
func (e *endpoint) dismiss() {
	for {
		fd, _, err := unix.Accept4(e.socket, unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			unix.Close(fd)
		case !errors.Is(err, unix.EINTR):
			return
		}
	}
}

func (e *endpoint) unlink() {
	os.Remove(e.kept())
	if inode, err := inodeOf(e.address); err == nil && inode == e.inode {
		os.Remove(e.address)
	}
}
