package fdpass

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// soPassRights is SO_PASSRIGHTS of asm-generic/socket.h, since Linux 6.16.
const soPassRights = 83

// ErrNotSupported is returned by Refuse where the kernel is older than Linux
// 6.16.
var ErrNotSupported = errors.New("descriptors cannot be refused before Linux 6.16")

// Refuse has nobody send descriptors to a unix socket: sendmsg(2) of its peer
// fails with EPERM. Without it they take room in our tables, and time to be
// closed, until they are received and closed.
func Refuse(socket int) error {
	err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, soPassRights, 0)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return ErrNotSupported
	}
	if err != nil {
		return fmt.Errorf("SO_PASSRIGHTS: %w", err)
	}
	return nil
}
