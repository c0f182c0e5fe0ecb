package procfs

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestHoldsSocket(t *testing.T) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(fd, &st))
	require.True(t, HoldsSocket(os.Getpid(), st.Ino))
	require.NoError(t, unix.Close(fd))
	require.False(t, HoldsSocket(os.Getpid(), st.Ino))
}
