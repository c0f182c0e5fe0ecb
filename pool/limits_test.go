package pool

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestWorkersMayHaveFewerDescriptorsThanTheEngine(t *testing.T) {
	for most, want := range map[uint64]uint64{256: 128, 1024: 512, 4096: 3072, 1 << 20: 1<<20 - 1024} {
		require.Equal(t, want, below(most))
	}
	y := newYard(t, never, role("good"))
	w := next(t, y.ready)
	var ours, theirs unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &ours))
	require.NoError(t, unix.Prlimit(w.Pid, unix.RLIMIT_NOFILE, nil, &theirs))
	require.Equal(t, below(ours.Max), theirs.Max)
	require.LessOrEqual(t, theirs.Cur, theirs.Max)
}
