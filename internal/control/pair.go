package control

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/internal/fdpass"
)

// Pair makes a control socket: one end for NewConn, one to be inherited by the
// worker. Both are close-on-exec and blocking; only the duplicate that becomes
// a child's descriptor survives exec.
func Pair() (parent, child *os.File, err error) {
	if err := fault.Error(fault.ControlPair); err != nil {
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("control socket: %w", err)
	}
	_ = fdpass.Refuse(fds[0]) // a worker has none for us; before Linux 6.16 they are closed when they come
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}
