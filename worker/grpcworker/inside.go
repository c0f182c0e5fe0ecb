package grpcworker

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// inside is a listener whose connections come from the same process, by real
// sockets but through no address that anybody else could reach.
type inside struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newInside() *inside {
	return &inside{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// dial makes a pair of sockets and has Accept return the other one.
func (i *inside) dial(ctx context.Context) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, err := conn(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, err
	}
	theirs, err := conn(fds[1])
	if err != nil {
		ours.Close()
		return nil, err
	}
	select {
	case i.conns <- theirs:
		return ours, nil
	case <-i.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	ours.Close()
	theirs.Close()
	return nil, err
}

func conn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "inside")
	defer f.Close()
	return net.FileConn(f)
}

// Accept waits for the next dial.
func (i *inside) Accept() (net.Conn, error) {
	select {
	case c := <-i.conns:
		return c, nil
	case <-i.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and dial.
func (i *inside) Close() error {
	i.once.Do(func() { close(i.closed) })
	return nil
}

// Addr has only a name.
func (*inside) Addr() net.Addr { return &net.UnixAddr{Name: "inside", Net: "unix"} }
