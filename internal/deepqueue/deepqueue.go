// Package deepqueue makes unix sockets whose accept queue may be longer than
// the machine's net.core.somaxconn.
//
// listen(2) cuts a queue, without a word, to the somaxconn of the network
// namespace that the socket was made in. A unix socket with a path is found by
// its inode from every namespace, and the process that accepts notices no difference. So sockets
// are made in a namespace of their own, where somaxconn is as high as wanted,
// and nothing else of the machine changes. The one thing that shows: tools that
// list sockets by namespace, such as ss(8), do not list these.
package deepqueue

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	somaxconnFile = "/proc/sys/net/core/somaxconn"
	namespaceFile = "/proc/thread-self/ns/net"
)

// Somaxconn is how many connections may wait at a socket that is made in this
// process's own network namespace.
func Somaxconn() (int, error) {
	b, err := os.ReadFile(somaxconnFile)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// Namespace is a network namespace for unix sockets.
type Namespace struct {
	file  *os.File
	limit int
}

// Open makes a namespace in which limit connections may wait at each socket. It
// takes CAP_SYS_ADMIN and a /proc/sys that can be written to; the error says
// what is missing.
func Open(limit int) (*Namespace, error) {
	n := &Namespace{limit: limit}
	err := apart(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		// The file belongs to the namespace of the thread that opens it.
		if err := os.WriteFile(somaxconnFile, strconv.AppendInt(nil, int64(limit), 10), 0); err != nil {
			return err
		}
		var err error
		n.file, err = os.Open(namespaceFile)
		return err
	})
	if err == nil {
		// Whether it works is better known now than at a launch.
		var fd int
		if fd, err = n.Socket(); err == nil {
			unix.Close(fd)
			return n, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("network namespace for sockets: %w", err), n.Close())
}

// Limit is how many connections may wait.
func (n *Namespace) Limit() int { return n.limit }

// Socket returns a new unix stream socket, not blocking and closed on exec.
func (n *Namespace) Socket() (fd int, err error) {
	err = apart(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		var err error
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			return os.NewSyscallError("socket", err)
		}
		return nil
	})
	return fd, err
}

// Close lets the namespace go. Sockets that were made in it keep it.
func (n *Namespace) Close() error {
	if n.file == nil {
		return nil
	}
	return n.file.Close()
}

// apart runs f on a thread that may change its network namespace, and brings
// the thread back.
func apart(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open(namespaceFile)
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			// Still locked: the thread ends with this goroutine, and runs no other.
			done <- errors.Join(err, os.NewSyscallError("setns", back))
			return
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}
