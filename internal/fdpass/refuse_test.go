package fdpass

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Descriptors that nobody asked for do not arrive; what else is said does, and
// descriptors go the other way.
func TestRefuse(t *testing.T) {
	for _, kind := range []int{unix.SOCK_SEQPACKET, unix.SOCK_DGRAM} {
		pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		defer CloseAll(pair[:])
		ours, theirs := pair[0], pair[1]
		err = Refuse(ours)
		if errors.Is(err, ErrNotSupported) {
			t.Skip(err)
		}
		require.NoError(t, err)
		require.ErrorIs(t, unix.Sendmsg(theirs, []byte("x"), unix.UnixRights(theirs), nil, 0), unix.EPERM)
		require.NoError(t, unix.Sendmsg(theirs, []byte("y"), nil, nil, 0))
		require.NoError(t, unix.Sendmsg(ours, []byte("z"), unix.UnixRights(ours), nil, 0))
		b, oob := make([]byte, 8), make([]byte, unix.CmsgSpace(4))
		n, fds, _, err := Receive(ours, b, oob, Labels{})
		require.NoError(t, err)
		require.Equal(t, "y", string(b[:n]))
		require.Empty(t, fds)
		_, fds, _, err = Receive(theirs, b, oob, Labels{})
		require.NoError(t, err)
		require.Len(t, fds, 1)
		CloseAll(fds)
	}
	require.Error(t, Refuse(-1))
}
