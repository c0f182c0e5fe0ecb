package descriptors

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDescriptorsAreCounted(t *testing.T) {
	_, err := listed() // the runtime's own are made with the first file
	require.NoError(t, err)
	for name, count := range map[string]func() (int, error){"as ever": InUse, "before Linux 6.2": listed} {
		before, err := count()
		require.NoError(t, err)
		const more = 25
		for range more {
			fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			defer unix.Close(fd)
		}
		after, err := count()
		require.NoError(t, err)
		require.Equal(t, before+more, after, name)
	}
}

func TestLimitIsTheHardOne(t *testing.T) {
	var l unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	limit, err := Limit()
	require.NoError(t, err)
	require.EqualValues(t, min(l.Max, 1<<31-1), limit)
}
