package worker

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"understudy/worker/heir"
)

// listener is a passed socket. It tells when Accept is called first, and has
// the heir know what it accepts.
type listener struct {
	net.Listener
	heir  *heir.Heir // nil without one
	first sync.Once
	begin func() // nil if nobody wants to know
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

// closeListeners leaves the sockets to whoever else has them: the supervisor,
// and the next worker.
func closeListeners(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}
