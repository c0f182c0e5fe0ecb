package worker

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"understudy/worker/heir"
)

// listener is a passed socket. It calls begin at the first Accept, and registers
// with the heir what it accepts.
type listener struct {
	net.Listener
	heir  *heir.Heir // nil without one
	first sync.Once
	begin func() // nil where there is nothing to call
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	l.first.Do(l.begin)
	c, err := l.Listener.Accept()
	if err != nil || l.heir == nil {
		return c, err
	}
	return track(c, l.heir), nil
}

// listenerOf makes a listener of a duplicate of fd.
func listenerOf(fd int, name string) (net.Listener, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), name)
	defer f.Close()
	return net.FileListener(f)
}

// closeListeners closes the worker's own descriptors. The sockets stay open for
// the others that have them: the supervisor and the next worker.
func closeListeners(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}
