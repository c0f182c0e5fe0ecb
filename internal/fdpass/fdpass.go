// Package fdpass has what every receiver of descriptors needs: SCM_RIGHTS
// messages taken apart (unix(7)), and nothing left open by mistake.
package fdpass

import (
	"fmt"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
)

// Labels are the faults of one receiver.
type Labels struct{ Recv, Cut fault.Label }

// Receive receives one message without waiting, with the descriptors beside it,
// which are close-on-exec and the caller's, whatever the error. Without room in
// the table of descriptors the kernel cuts some off: flags has MSG_CTRUNC then
// (recvmsg(2)).
func Receive(socket int, b, oob []byte, l Labels) (n int, fds []int, flags int, err error) {
	if err := fault.Error(l.Recv); err != nil {
		return 0, nil, 0, err
	}
	n, oobn, flags, _, err := unix.Recvmsg(socket, b, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return n, nil, flags, err
	}
	fds, err = Parse(oob[:oobn])
	if len(fds) > 0 && fault.At(l.Cut) != 0 {
		CloseAll(fds[1:])
		return n, fds[:1], flags | unix.MSG_CTRUNC, nil
	}
	return n, fds, flags, err
}

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
