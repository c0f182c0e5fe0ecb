package worker_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/patterns/echo/echov1"
)

// endpoint is a listening socket that the test keeps, like a supervisor.
type endpoint struct {
	net.Listener
	file *os.File
}

func listenOn(t testing.TB, network string) endpoint {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	file, err := l.(interface{ File() (*os.File, error) }).File()
	require.NoError(t, err)
	t.Cleanup(func() { l.Close(); file.Close() })
	return endpoint{l, file}
}

func (e endpoint) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial(e.Addr().Network(), e.Addr().String())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { c.Close() })
	return c
}

// awaitConnection waits until a connection is in the endpoint's backlog.
func (e endpoint) awaitConnection(t testing.TB) {
	t.Helper()
	waiting := []unix.PollFd{{Fd: int32(e.file.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(waiting, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n, "no connection comes")
		return
	}
}

func (e endpoint) echoClient(t testing.TB) (echov1.EchoClient, *grpc.ClientConn) {
	t.Helper()
	target := "passthrough:///" + e.Addr().String()
	if e.Addr().Network() == "unix" {
		target = "unix:" + e.Addr().String()
	}
	cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { cc.Close() })
	return echov1.NewEchoClient(cc), cc
}
