package principal

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ofUnix asks for the credentials that the peer had when it connected
// (SO_PEERCRED and SO_PEERGROUPS, unix(7)).
func ofUnix(c *net.UnixConn) (Principal, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Principal{}, err
	}
	var cred *unix.Ucred
	var groups []uint32
	var asked error
	err = raw.Control(func(fd uintptr) {
		if cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); asked == nil {
			groups, asked = peerGroups(fd)
		}
	})
	if err := errors.Join(err, asked); err != nil {
		return Principal{}, fmt.Errorf("who connected: %w", err)
	}
	return Principal{UID: cred.Uid, GID: cred.Gid, Groups: groups, PID: cred.Pid, Complete: true}, nil
}

// peerGroups is SO_PEERGROUPS: an array of gid_t, or ERANGE and the size that
// it takes.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		runtime.KeepAlive(groups)
		switch {
		case errno == unix.ERANGE && int(size) > len(groups)*4:
			groups = make([]uint32, size/4)
		case errno != 0:
			return nil, os.NewSyscallError("getsockopt", errno)
		default:
			return groups[:size/4], nil
		}
	}
}
