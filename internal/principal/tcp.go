package principal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ofTCP finds the peer's own socket, which is on this machine, and asks who
// made it (sock_diag(7)).
//
// A socket that its process has closed belongs to nobody: the kernel then says
// user 0. So only a socket that is established and has an inode, which a closed
// one has not, tells anything.
func ofTCP(c *net.TCPConn) (Principal, error) {
	local, peer := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
	m, err := socketOf(peer, local)
	if err != nil {
		return Principal{}, fmt.Errorf("who connected from %v: %w", peer, err)
	}
	if m.state != tcpEstablished || m.inode == 0 {
		return Principal{}, fmt.Errorf("who connected from %v: it has closed its socket", peer)
	}
	return Principal{UID: m.uid}, nil
}

// CanTellTCP returns why ofTCP cannot work on this machine, or nil.
func CanTellTCP(l *net.TCPListener) error {
	at := l.Addr().(*net.TCPAddr).AddrPort()
	if _, err := socketOf(at, netip.AddrPortFrom(netip.IPv4Unspecified(), 0)); err != nil {
		return fmt.Errorf("this kernel does not say who connects by TCP: %w", err)
	}
	return nil
}

const (
	tcpEstablished = 1 // TCP_ESTABLISHED of the kernel's net/tcp_states.h

	// Sizes and offsets of linux/inet_diag.h.
	reqSize   = 56 // inet_diag_req_v2
	msgSize   = 72 // inet_diag_msg
	atState   = 1
	atSockID  = 4
	atUID     = 64
	atInode   = 68
	reqSockID = 8
	sockID    = 48
	noCookie  = ^uint32(0) // INET_DIAG_NOCOOKIE
)

// diagMsg is what we want to know of an inet_diag_msg.
type diagMsg struct {
	state      uint8
	uid, inode uint32
}

// socketOf asks for the TCP socket with these two ends: from is its own.
func socketOf(from, to netip.AddrPort) (diagMsg, error) {
	request, family := diagRequest(from, to)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return diagMsg{}, fmt.Errorf("sock_diag: %w", err)
	}
	defer unix.Close(fd)
	// The kernel answers before sendto returns; the limit is for one that does
	// not.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return diagMsg{}, fmt.Errorf("sock_diag: %w", err)
	}
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return diagMsg{}, fmt.Errorf("sock_diag: %w", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return diagMsg{}, fmt.Errorf("sock_diag: %w", err)
	}
	return parseDiag(answer[:n], family, request[unix.NLMSG_HDRLEN+reqSockID:][:4+16+16])
}

// diagRequest is the netlink message that asks for one socket.
func diagRequest(from, to netip.AddrPort) (b []byte, family uint8) {
	family = unix.AF_INET
	if !from.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	b = make([]byte, unix.NLMSG_HDRLEN+reqSize)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	req := b[unix.NLMSG_HDRLEN:]
	req[0], req[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(req[4:], noCookie) // every state
	id := req[reqSockID:]
	binary.BigEndian.PutUint16(id[0:], from.Port())
	binary.BigEndian.PutUint16(id[2:], to.Port())
	copy(id[4:], from.Addr().Unmap().AsSlice())
	copy(id[20:], to.Addr().Unmap().AsSlice())
	binary.NativeEndian.PutUint32(id[40:], noCookie)
	binary.NativeEndian.PutUint32(id[44:], noCookie)
	return b, family
}

// parseDiag reads the answer: a socket, or an error. Where no connection has
// these ends, the kernel may offer a listener; ends that are not those asked
// for are no answer.
func parseDiag(b []byte, family uint8, ends []byte) (diagMsg, error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return diagMsg{}, errors.New("sock_diag: the answer is cut short")
	}
	kind, body := binary.NativeEndian.Uint16(b[4:]), b[unix.NLMSG_HDRLEN:]
	switch {
	case kind == unix.NLMSG_ERROR && len(body) >= 4:
		return diagMsg{}, fmt.Errorf("sock_diag: %w", unix.Errno(-int32(binary.NativeEndian.Uint32(body))))
	case kind != unix.SOCK_DIAG_BY_FAMILY || len(body) < msgSize:
		return diagMsg{}, fmt.Errorf("sock_diag: an answer of kind %d and %d bytes is not understood", kind, len(body))
	case body[0] != family || string(body[atSockID:][:len(ends)]) != string(ends):
		return diagMsg{}, errors.New("sock_diag: no such connection")
	}
	return diagMsg{state: body[atState], uid: binary.NativeEndian.Uint32(body[atUID:]), inode: binary.NativeEndian.Uint32(body[atInode:])}, nil
}
