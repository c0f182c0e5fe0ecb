package segment_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"understudy/shmregistry/segment"
)

func TestMain(m *testing.M) {
	if epoch, err := strconv.ParseUint(os.Getenv(epochVariable), 10, 64); err == nil {
		fmt.Fprintln(os.Stderr, "writer:", beWriter(epoch))
		os.Exit(3)
	}
	goleak.VerifyTestMain(m)
}

// newFD makes a memfd with a segment of size bytes.
func newFD(t testing.TB, size int64) int {
	t.Helper()
	fd, err := unix.MemfdCreate("segment-test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, segment.Format(fd, size))
	return fd
}

// mustMap maps what is behind fd until the test ends.
func mustMap(t testing.TB, fd int) *segment.Segment {
	t.Helper()
	s, err := segment.Map(fd)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}
