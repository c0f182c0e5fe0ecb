package isolation

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// loopbacks is how many addresses 127.0.0.N are tried for a free port: freed
// ports rest, and a small ip_local_port_range is soon used up.
const loopbacks = 8

func (e *endpoint) bindTCP(at netip.AddrPort) (err error) {
	if at.IsValid() {
		e.socket, err = boundTCP(at, true)
		return err
	}
	for n := range loopbacks {
		var probe int
		any := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(n + 1)}), 0)
		if probe, err = boundTCP(any, false); err != nil {
			continue
		}
		// The kernel frees a port that it has chosen itself as soon as the socket
		// is shut down. One that was asked for stays bound. So it is asked for,
		// while the probe keeps it from others.
		defer unix.Close(probe)
		name, err := unix.Getsockname(probe)
		if err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		if err := unix.SetsockoptInt(probe, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		at := netip.AddrPortFrom(any.Addr(), uint16(name.(*unix.SockaddrInet4).Port))
		e.address = at.String()
		e.socket, err = boundTCP(at, true)
		return err
	}
	return err
}

func boundTCP(at netip.AddrPort, reuse bool) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if reuse {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}
