package control

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
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
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}
