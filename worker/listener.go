package worker

import (
	"fmt"
	"net"
	"os"
	"sync"

	"understudy/internal/control"
	understudyv1 "understudy/proto/understudy/v1"
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

// listen makes the listeners of an activation out of its descriptors, all of
// which are used up. begin is called at the first Accept of the first one.
func listen(m *understudyv1.Activate, fds []int, h *heir.Heir, begin func()) (ls []net.Listener, err error) {
	defer func() {
		closeAll(fds)
		if err != nil {
			closeListeners(ls)
		}
	}()
	if len(m.Listeners) == 0 {
		return nil, fmt.Errorf("%w: activation without a listener", control.ErrMalformed)
	}
	if want := len(m.Listeners) + len(m.Segments); len(fds) != want {
		return nil, fmt.Errorf("%w: activation with %d descriptors instead of %d", control.ErrMalformed, len(fds), want)
	}
	for i, described := range m.Listeners {
		f := os.NewFile(uintptr(fds[0]), described.Name)
		fds = fds[1:]
		l, err := net.FileListener(f) // a duplicate
		f.Close()
		if err != nil {
			return ls, fmt.Errorf("listener %q: %w", described.Name, err)
		}
		if i > 0 {
			begin = func() {}
		}
		ls = append(ls, &listener{Listener: l, heir: h, begin: begin})
	}
	return ls, nil
}

// closeListeners leaves the sockets to whoever else has them: the supervisor,
// and the next worker.
func closeListeners(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}
