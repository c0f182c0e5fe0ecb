//go:build linux && (amd64 || arm64)

package heir

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// client is a connected socket that knows nothing of heirs. It blocks in the
// kernel, so that Go's scheduler has no part in its times.
type client int

// connect returns when the worker has answered, and so knows the connection.
func connect(t testing.TB, addr unix.Sockaddr) client {
	t.Helper()
	c := dial(t, addr)
	require.True(t, c.answered(), "no answer from a live worker")
	return c
}

// dial returns when the kernel has taken the connection.
func dial(t testing.TB, addr unix.Sockaddr) client {
	t.Helper()
	domain := unix.AF_UNIX
	if _, tcp := addr.(*unix.SockaddrInet4); tcp {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	require.NoError(t, unix.Connect(fd, addr))
	return client(fd)
}

// answered says a line and returns whether the worker echoed it.
func (c client) answered() bool {
	for {
		_, err := unix.SendmsgN(int(c), []byte("hello\n"), nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false
		}
		break
	}
	var line [6]byte
	for read := 0; read < len(line); {
		n, err := unix.Read(int(c), line[read:])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return false
		}
		read += n
	}
	return string(line[:]) == "hello\n"
}

// cut waits for the end of the connection, orderly or by reset, and returns
// the time; the zero time if it does not end.
func (c client) cut() time.Time {
	var b [1]byte
	for {
		n, err := unix.Read(int(c), b[:])
		switch {
		case err == unix.EINTR:
		case n == 0 && err == nil, err == unix.ECONNRESET:
			return time.Now()
		default:
			return time.Time{}
		}
	}
}
