package fdpass

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDescriptorsComeInTheirOrderAndAreClosed(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer CloseAll(pair[:])
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	rights := unix.UnixRights(int(r.Fd()), int(w.Fd()))
	require.NoError(t, unix.Sendmsg(pair[0], []byte("x"), rights, nil, 0))
	w.Close()

	oob := make([]byte, unix.CmsgSpace(4*8))
	_, n, flags, _, err := unix.Recvmsg(pair[1], make([]byte, 8), oob, unix.MSG_CMSG_CLOEXEC)
	require.NoError(t, err)
	require.Zero(t, flags&unix.MSG_CTRUNC)
	fds, err := Parse(oob[:n])
	require.NoError(t, err)
	require.Len(t, fds, 2)
	_, err = unix.Write(fds[1], []byte("y"))
	require.NoError(t, err, "the second is the pipe's end for writing")
	CloseAll(fds)
	got := make([]byte, 2)
	k, err := r.Read(got)
	require.NoError(t, err)
	require.Equal(t, "y", string(got[:k]))
	_, err = r.Read(got)
	require.Error(t, err, "no end for writing is left open")
}

func TestNoControlDataIsNoError(t *testing.T) {
	fds, err := Parse(nil)
	require.NoError(t, err)
	require.Empty(t, fds)
	longer := make([]byte, unix.CmsgLen(4))
	longer[0] = 0xff // a length beyond the end (cmsg(3))
	_, err = Parse(longer)
	require.Error(t, err)
}
