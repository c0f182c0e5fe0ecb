package worker

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"understudy/internal/control"
	understudyv1 "understudy/proto/understudy/v1"
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
	serve := l.pattern.Rehearse
	if serve == nil {
		serve = converse
	}
	if err := serve(ctx, a.Listener()); err != nil {
		return fmt.Errorf("rehearsal: %w", err)
	}
	// The first collection should not fall into the first requests either.
	collectFrom(runtime.NumGoroutine() * firstStack / len(deep{}))
	populateHeap()
	return nil
}

// firstStack is how large the stacks of the next goroutines are to be, in
// bytes; the runtime rounds up to a power of two. A gRPC server's goroutines
// would grow theirs from 2 KiB to 8 and 16, by copying, which takes a tenth of
// the time of the first answers.
const firstStack = 9 << 10

// deep is what one step of collectFrom takes of the stack.
type deep [1 << 10]byte

// collectFrom collects garbage from that many steps down the stack. What the
// runtime gives to new goroutines is the average use of the stacks that it
// found in the last collection (runtime, gcComputeStartingStackSize).
//
//go:noinline
func collectFrom(depth int) (touched byte) {
	var d deep
	d[depth%len(d)] = 1
	if depth == 0 {
		runtime.GC()
	} else {
		touched = collectFrom(depth - 1)
	}
	return touched + d[(depth*7)%len(d)]
}

// populateHeap has the pages there into which the heap of a small process grows
// next: the first requests would take a fault for each. The runtime takes
// memory for the heap in aligned chunks of this size (heapBytes), and knows
// nothing of what is resident.
func populateHeap() {
	const chunk = 4 << 20
	here := new([64]byte)
	start := uintptr(unsafe.Pointer(here)) &^ (chunk - 1)
	// Where the chunk is not ours whole, or before Linux 5.14, that is all.
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, chunk, unix.MADV_POPULATE_WRITE)
	runtime.KeepAlive(here)
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
	m, err := control.DecodeToWorker(b)
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	a := newAssignment(m.GetActivate(), self)
	announce := &understudyv1.FromWorker{Message: &understudyv1.FromWorker_Active{
		Active: &understudyv1.Active{ProcessId: a.ProcessID, Epoch: a.Epoch}}}
	(&link{conn: self, log: l.log}).send(announce)
	return a, a.endow(m.GetActivate(), fds, l.heir, func() {})
}

// rehearsalTime bounds the conversation: whoever else finds the socket might
// connect and be silent.
const rehearsalTime = time.Second

// converse is one client's connection, seen from both ends.
func converse(_ context.Context, l net.Listener) error {
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
