package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketListener listens on a unix socket. Its path may be taken away, as
// cleaners of temporary files do: again makes another socket there, and those
// who wait in Accept go on with that one.
type socketListener struct {
	path  string
	mode  fs.FileMode
	group int // -1: as the process has it

	mu      sync.Mutex
	current net.Listener
	file    fs.FileInfo // what current's path was when it was made
	closed  bool
}

// listenSocket makes the socket. What lies at the path is replaced.
func listenSocket(path string, mode fs.FileMode, group int) (*socketListener, error) {
	l := &socketListener{path: path, mode: mode, group: group}
	if err := l.listen(); err != nil {
		return nil, err
	}
	return l, nil
}

// listen makes the socket for this user only, and opens it to others when its
// owner and its mode are right. The mode is set before bind gives the socket a
// name (unix_bind in the kernel's net/unix/af_unix.c takes it from there), so
// there is no moment without it. Under l.mu, or before there is a second user.
func (l *socketListener) listen() error {
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, failed)
	}}
	made, err := lc.Listen(context.Background(), "unix", l.path)
	if err != nil {
		return err
	}
	made.(*net.UnixListener).SetUnlinkOnClose(false) // another one may lie there by then
	if l.group >= 0 {
		err = os.Lchown(l.path, -1, l.group)
	}
	if err == nil {
		err = os.Chmod(l.path, l.mode) // bind applied the umask
	}
	var file fs.FileInfo
	if err == nil {
		file, err = os.Lstat(l.path)
	}
	if err != nil {
		made.Close()
		os.Remove(l.path)
		return fmt.Errorf("socket for group %d with mode %04o: %w", l.group, l.mode, err)
	}
	l.current, l.file = made, file
	return nil
}

// again makes the socket anew where its path is gone or leads to something
// else, and reports whether it did.
func (l *socketListener) again() (made bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, nil
	}
	if file, err := os.Lstat(l.path); err == nil && os.SameFile(file, l.file) {
		return false, nil
	}
	before := l.current
	if err := l.listen(); err != nil {
		return false, err
	}
	before.Close()
	return true, nil
}

// Accept implements net.Listener.
func (l *socketListener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		current := l.current
		l.mu.Unlock()
		c, err := current.Accept()
		if err == nil || !errors.Is(err, net.ErrClosed) {
			return c, err
		}
		l.mu.Lock()
		over := l.closed
		l.mu.Unlock()
		if over {
			return nil, err
		}
	}
}

// Close implements net.Listener. It takes the path away, where it is still ours.
func (l *socketListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if file, err := os.Lstat(l.path); err == nil && os.SameFile(file, l.file) {
		os.Remove(l.path)
	}
	return l.current.Close()
}

// Addr implements net.Listener.
func (l *socketListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }
