package takeover

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/internal/fdpass"
)

// actionKind says what an action does.
type actionKind uint8

const (
	// actionSend sends message to the standby's control socket.
	actionSend actionKind = iota
)

// action is one thing that activates a standby. A plan has a list of them,
// carried out in order; the first that fails ends it. So what cannot be taken
// back comes last.
type action struct {
	kind    actionKind
	message *message
}

// carryOut activates the standby with the handles h.
func (p *plan) carryOut(h *handles) unix.Errno {
	for i := range p.actions {
		if errno := p.actions[i].do(h); errno != 0 {
			return errno
		}
	}
	return 0
}

func (a *action) do(h *handles) unix.Errno {
	switch a.kind {
	case actionSend:
		return a.message.send(h.control)
	}
	return unix.EINVAL
}

// close lets go of the descriptors of a plan that is carried out, or dropped.
func (p *plan) close() {
	for i := range p.actions {
		p.actions[i].message.close()
	}
	p.actions = nil
}

// message is an activation ready to be sent: all that sendmsg needs is filled
// in when the plan is armed.
type message struct {
	payload []byte
	rights  []byte
	fds     []int
	iov     unix.Iovec
	header  unix.Msghdr
}

func newMessage(payload []byte, fds []int) *message {
	m := &message{payload: payload, fds: fds}
	if len(fds) > 0 {
		m.rights = unix.UnixRights(fds...)
		m.header.Control = &m.rights[0]
		m.header.SetControllen(len(m.rights))
	}
	m.iov.Base = unsafe.SliceData(payload)
	m.iov.SetLen(len(payload))
	m.header.Iov = &m.iov
	m.header.SetIovlen(1)
	return m
}

// send is the hot path's one system call. It never blocks.
func (m *message) send(socket int) unix.Errno {
	if errno := fault.At(fault.Activate); errno != 0 {
		return errno
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(socket),
		uintptr(unsafe.Pointer(&m.header)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return errno
}

func (m *message) close() {
	fdpass.CloseAll(m.fds)
	m.fds = nil
}
