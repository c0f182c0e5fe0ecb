// Package fdpass has what every receiver of descriptors needs: SCM_RIGHTS
// messages taken apart (unix(7)), and nothing left open by mistake.
package fdpass

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Parse returns the descriptors in the control data of one recvmsg, in their
// order. Control messages of other kinds are passed over. Whether some were
// lost on the way is in recvmsg's flags (MSG_CTRUNC), not here.
func Parse(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control data: %w", err)
	}
	var all []int
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, fds...)
		}
	}
	return all, nil
}

// CloseAll closes descriptors that nobody wants.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
