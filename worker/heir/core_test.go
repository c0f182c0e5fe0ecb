package heir

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestFenceCutsWhileTheCoreIsWritten: writing a core takes long and the dead
// worker keeps its descriptors meanwhile. The fence cuts its clients before
// the dump has ended, and the dump is whole.
func TestFenceCutsWhileTheCoreIsWritten(t *testing.T) {
	const ballast = 256 // MB
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	if strings.ContainsAny(string(pattern), "|@/") {
		t.Skipf("core_pattern is %q: the core does not go to the worker's directory", pattern)
	}
	w := supervise(t, spec{Heir: true, Ballast: ballast, Busy: 50, On: "core"})
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	require.NoError(t, unix.Prlimit(w.proc.Pid, unix.RLIMIT_CORE, &unlimited, nil))
	u, tcp := connect(t, w.unixAddr), connect(t, w.tcpAddr)

	begun := watch(t, w.dir)
	w.stdin.Close()
	begun()
	w.doom()
	require.False(t, u.cut().IsZero())
	require.False(t, tcp.cut().IsZero())
	assert.False(t, w.dead(), "the connections lasted as long as the dump")

	status, h := w.bury()
	assert.True(t, status.Sys().(interface{ CoreDump() bool }).CoreDump())
	assert.Equal(t, ended{}, h)
	wholeCore(t, w.dir, ballast<<20)
	takeOver(t, w)
}

// watch returns a function that waits for a file to be made in the directory.
func watch(t *testing.T, dir string) func() {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	require.NoError(t, err)
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE)
	require.NoError(t, err)
	return func() {
		defer unix.Close(fd)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		require.NoError(t, err)
		require.Equal(t, 1, n, "no core is being written")
	}
}

// wholeCore checks that the only core in the directory has all that its
// headers promise, and the worker's ballast.
func wholeCore(t *testing.T, dir string, ballast uint64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "core*"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	info, err := os.Stat(names[0])
	require.NoError(t, err)
	core, err := elf.Open(names[0])
	require.NoError(t, err)
	defer core.Close()
	assert.Equal(t, elf.ET_CORE, core.Type)
	var written uint64
	for _, p := range core.Progs {
		assert.LessOrEqual(t, p.Off+p.Filesz, uint64(info.Size()), "cut short")
		written += p.Filesz
	}
	assert.Greater(t, written, ballast)
}
