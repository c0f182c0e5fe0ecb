package sentinel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// From linux/connector.h and linux/cn_proc.h. Offsets are from the beginning
// of a datagram: a netlink header of 16 bytes, a connector header of 20, the
// event.
const (
	procGroup    = 1 // CN_IDX_PROC and CN_VAL_PROC
	listen       = 1 // PROC_CN_MCAST_LISTEN
	coredump     = 0x40000000
	headers      = unix.SizeofNlMsghdr + 20
	eventWhat    = headers
	eventTime    = headers + 8
	eventThread  = headers + 16
	eventTGID    = headers + 20
	minEvent     = headers + 24
	netlinkRoom  = 256
	socketMemory = 1 << 20
)

// connector is the early source for those without privilege: the kernel tells
// every listener of its process connector that a process is about to dump
// core, which it says of every death by a signal of that kind (SIGSEGV,
// SIGABRT, …), dump or not (kernel/signal.c, get_signal). Other deaths it tells
// no sooner than the pidfd. Users may listen, and to one kind of event alone,
// since Linux 6.6; in the initial namespaces only.
type connector struct {
	socket  int
	buffer  []byte
	dropped atomic.Uint64
}

func openConnector() (*connector, error) {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("process connector: %w", err)
	}
	c := &connector{socket: socket, buffer: make([]byte, netlinkRoom)}
	_ = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUF, socketMemory)
	if err := unix.Bind(socket, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: procGroup}); err != nil {
		c.close()
		return nil, fmt.Errorf("process connector (users may listen since Linux 6.6): %w", err)
	}
	b := make([]byte, headers+8)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint32(b[16:], procGroup)
	binary.NativeEndian.PutUint32(b[20:], procGroup)
	binary.NativeEndian.PutUint16(b[32:], 8) // the length of what follows
	binary.NativeEndian.PutUint32(b[headers:], listen)
	binary.NativeEndian.PutUint32(b[headers+4:], coredump)
	if err := unix.Send(socket, b, 0); err != nil {
		c.close()
		return nil, fmt.Errorf("process connector: listen: %w", err)
	}
	return c, nil
}

// watch and unwatch have nothing to do: the kernel tells of all processes.
func (c *connector) watch(int, uint64) error { return nil }
func (c *connector) unwatch(int)             {}

func (c *connector) fd() int { return c.socket }

func (c *connector) drain(take func(record)) {
	for {
		n, err := unix.Read(c.socket, c.buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS): // the kernel says once that it dropped some
			c.dropped.Add(1)
			continue
		case err != nil:
			return
		}
		if n < minEvent || binary.NativeEndian.Uint32(c.buffer[eventWhat:]) != coredump {
			continue
		}
		take(record{
			pid:    int(binary.NativeEndian.Uint32(c.buffer[eventTGID:])),
			dumper: int(binary.NativeEndian.Uint32(c.buffer[eventThread:])),
			at:     int64(binary.NativeEndian.Uint64(c.buffer[eventTime:])),
			kind:   Doomed,
			early:  true,
		})
	}
}

func (c *connector) lost() uint64 { return c.dropped.Load() }

func (c *connector) close() { unix.Close(c.socket) }
