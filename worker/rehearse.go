package worker

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/control"
	"understudy/internal/fdpass"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/worker/internal/prewarm"
)

// rehearse goes once, on sockets of its own, the whole way from an activation
// to the answers of the first clients. What a process does for the first time
// takes several times as long as later: code comes into memory page by page,
// message types are initialised, threads are started, stacks grow. A standby
// has the time. The error is the pattern's.
func (l *life) rehearse(ctx context.Context) error {
	a, err := l.activateAside()
	if err != nil { // a sandbox may forbid it
		l.log.Info("activation was not rehearsed; the first will be slower", "error", err)
		return nil
	}
	defer closeListeners(a.Listeners)
	if l.pattern.Rehearse != nil {
		if err := l.pattern.Rehearse(ctx, a.Listener()); err != nil {
			return fmt.Errorf("rehearsal: %w", err)
		}
	} else if err := converse(a.Listener()); err != nil {
		l.log.Info("first connection was not rehearsed; it will be slower", "error", err)
	}
	l.prewarmed = prewarm.Memory(ctx, l.pace)
	return nil
}

// activateAside lets an activation of nobody go through a control socket, as
// the real one will.
func (l *life) activateAside() (*Assignment, error) {
	supervisor, self, err := rehearsalLink()
	if err != nil {
		return nil, err
	}
	defer supervisor.Close()
	defer self.Close()
	socket, err := rehearsalSocket()
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)

	b, err := control.Encode(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Activate{Activate: &understudyv1.Activate{
		ProcessId: "ns:rehearsal:rehearsal",
		Pattern:   "rehearsal",
		Epoch:     1,
		Key:       &understudyv1.Key{Namespace: "rehearsal", Level: "namespace"},
		Config:    map[string]string{"key": "value"},
		Listeners: []*understudyv1.Listener{{Name: "main", Network: "unix"}},
	}}})
	if err != nil {
		return nil, err
	}
	if err := supervisor.Send(b, socket); err != nil {
		return nil, err
	}
	b, fds, err := self.Recv()
	if err != nil {
		return nil, err
	}
	m, err := l.link.decode(b)
	if err != nil {
		fdpass.CloseAll(fds)
		return nil, err
	}
	a := newAssignment(m.GetActivate(), self)
	announce := &understudyv1.FromWorker{Message: &understudyv1.FromWorker_Active{
		Active: &understudyv1.Active{ProcessId: a.ProcessID, Epoch: a.Epoch}}}
	(&link{conn: self, log: l.log}).send(announce)
	return a, a.receiveDescriptors(m.GetActivate(), fds, l.heir, func() {})
}

// rehearsalTime bounds the conversation: another process might find the
// socket, connect and be silent.
const rehearsalTime = time.Second

// converse is one client's connection, seen from both ends.
func converse(l net.Listener) error {
	client, err := net.DialTimeout(l.Addr().Network(), l.Addr().String(), rehearsalTime)
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		return err
	}
	defer server.Close()
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		if err := way[1].SetDeadline(time.Now().Add(rehearsalTime)); err != nil {
			return err
		}
		if _, err := way[0].Write([]byte{0}); err != nil {
			return err
		}
		if _, err := way[1].Read(make([]byte, 1)); err != nil {
			return err
		}
	}
	return nil
}

func rehearsalLink() (supervisor, self *control.Conn, err error) {
	a, b, err := control.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer a.Close()
	defer b.Close()
	if supervisor, err = control.NewConn(a); err != nil {
		return nil, nil, err
	}
	if self, err = control.NewConn(b); err != nil {
		supervisor.Close()
	}
	return supervisor, self, err
}

// rehearsalSocket listens where the kernel finds a place (unix(7), "Autobind").
func rehearsalSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{}); err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind to a name of the kernel's: %w", err)
	}
	return fd, nil
}
