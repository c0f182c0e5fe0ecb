package route_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"understudy/patterns/echo/echov1"
)

// endpoint is a listening socket that outlives those who accept from it, as
// the supervisor's do.
type endpoint struct {
	t testing.TB
	l *net.UnixListener
}

func newEndpoint(t testing.TB) *endpoint {
	path := filepath.Join(t.TempDir(), "e.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return &endpoint{t: t, l: l}
}

func (e *endpoint) address() string { return "unix://" + e.l.Addr().String() }

// listener is another reference to the socket.
func (e *endpoint) listener() net.Listener {
	f, err := e.l.File()
	require.NoError(e.t, err)
	defer f.Close()
	l, err := net.FileListener(f)
	require.NoError(e.t, err)
	return l
}

// queued waits until a connection is in the backlog.
func (e *endpoint) queued() {
	raw, err := e.l.SyscallConn()
	require.NoError(e.t, err)
	require.NoError(e.t, raw.Control(func(fd uintptr) {
		var n int
		for err = unix.EINTR; err == unix.EINTR; {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		}
		require.NoError(e.t, err)
		require.Equal(e.t, 1, n, "nobody connects")
	}))
}

// worker answers with its epoch. A call with the payload "wait" takes until the
// client gives up, and says so on begun.
type worker struct {
	echov1.UnimplementedEchoServer
	epoch  uint64
	begun  chan struct{}
	l      net.Listener
	served chan error
}

func (e *endpoint) worker(epoch uint64) *worker {
	w := &worker{epoch: epoch, begun: make(chan struct{}, 1), l: e.listener(), served: make(chan error, 1)}
	s := grpc.NewServer()
	echov1.RegisterEchoServer(s, w)
	go func() { w.served <- s.Serve(w.l) }()
	e.t.Cleanup(func() {
		s.Stop()
		w.l.Close()
	})
	return w
}

// die accepts no more. Its connections stay open, as those of a dying process
// do until its memory has been freed.
func (w *worker) die() {
	w.l.Close()
	<-w.served
}

func (w *worker) Say(ctx context.Context, r *echov1.SayRequest) (*echov1.SayResponse, error) {
	if string(r.Payload) == "wait" {
		w.begun <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &echov1.SayResponse{Payload: r.Payload, Epoch: w.epoch}, nil
}
