package pool

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestWorkersMayHaveFewerDescriptorsThanTheEngine(t *testing.T) {
	for most, want := range map[uint64]uint64{256: 128, 1024: 512, 4096: 3072, 1 << 20: 1<<20 - 1024} {
		require.Equal(t, want, below(most))
	}
	cmd := exec.Command("sleep", "300")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	limit := func() (l unix.Rlimit) {
		require.NoError(t, unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &l))
		return l
	}
	before := limit()
	require.NoError(t, limitFiles(cmd.Process.Pid, 0))
	require.Equal(t, before, limit(), "root is not held against it")

	require.NoError(t, limitFiles(cmd.Process.Pid, 1000))
	require.Equal(t, below(before.Max), limit().Max)
	require.LessOrEqual(t, limit().Cur, limit().Max)
}
