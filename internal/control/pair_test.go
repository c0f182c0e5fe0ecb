package control

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/fdpass"
)

// A worker cannot fill our table with descriptors. Its messages come.
func TestAWorkerSendsNoDescriptors(t *testing.T) {
	ours, theirs, err := Pair()
	require.NoError(t, err)
	defer ours.Close()
	defer theirs.Close()
	probe, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(probe)
	if err := fdpass.Refuse(probe); errors.Is(err, fdpass.ErrNotSupported) {
		t.Skip(err)
	}
	conn, err := NewConn(ours)
	require.NoError(t, err)
	defer conn.Close()
	worker, err := NewConn(theirs)
	require.NoError(t, err)
	defer worker.Close()
	require.ErrorIs(t, worker.Send([]byte("x"), int(os.Stdin.Fd())), unix.EPERM)
	require.NoError(t, worker.Send([]byte("y")))
	b, fds, err := conn.Recv()
	require.NoError(t, err)
	require.Equal(t, "y", string(b))
	require.Empty(t, fds)
	require.NoError(t, conn.Send([]byte("z"), int(os.Stdin.Fd())))
	_, fds, err = worker.Recv()
	require.NoError(t, err)
	require.Len(t, fds, 1)
	fdpass.CloseAll(fds)
}
