//go:build linux && (amd64 || arm64)

package heir

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestFenceCutsWhileTheCoreIsWritten: writing a core takes long and the dead
// worker keeps its descriptors meanwhile. The fence cuts its clients before
// the dump has ended, and the dump is whole.
func TestFenceCutsWhileTheCoreIsWritten(t *testing.T) {
	canDumpCore(t)
	const ballast = 256 // MB
	w := supervise(t, spec{Heir: true, Ballast: ballast, Busy: 50, On: "core"})
	u, tcp := connect(t, w.unixAddr), connect(t, w.tcpAddr)
	doomed := w.dumpCore(t)
	require.False(t, u.cut().IsZero())
	require.False(t, tcp.cut().IsZero())
	cut := time.Now()
	assert.Greater(t, w.died().Sub(cut), cut.Sub(doomed), "the connections lasted as long as the dump")

	status, h := w.bury()
	assert.True(t, status.Sys().(interface{ CoreDump() bool }).CoreDump())
	assert.Equal(t, ended{}, h)
	wholeCore(t, w.dir, ballast<<20)
	takeOver(t, w)
}

// TestFenceCutsWhatWasAcceptedAtTheLastMoment: the worker died before it could
// track the connection, which has the listener's address. Other descriptors
// are left alone: the TCP connection lasts as long as the dump.
func TestFenceCutsWhatWasAcceptedAtTheLastMoment(t *testing.T) {
	canDumpCore(t)
	w := supervise(t, spec{Heir: true, Ballast: 256, Track: "listener", On: "core"})
	u, tcp := connect(t, w.unixAddr), connect(t, w.tcpAddr)
	doomed := w.dumpCore(t)
	require.False(t, u.cut().IsZero())
	cut := time.Now()
	assert.False(t, readable(int(tcp), 0), "not the listener's")
	assert.Greater(t, w.died().Sub(cut), cut.Sub(doomed), "the connection lasted as long as the dump")
	w.bury()
	takeOver(t, w)
}

// canDumpCore skips the test where a core would go elsewhere or take the heir
// with it.
func canDumpCore(t *testing.T) {
	t.Helper()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	if strings.ContainsAny(string(pattern), "|@/") {
		t.Skipf("core_pattern is %q: the core does not go to the worker's directory", pattern)
	}
	if major, minor := kernel(t); major < 5 || major == 5 && minor < 16 {
		t.Skipf("Linux %d.%d kills all who share the memory before it writes a core; 5.16 does not", major, minor)
	}
}

// dumpCore has the worker dump core, and fences it when that has begun.
func (w *supervised) dumpCore(t *testing.T) (doomed time.Time) {
	t.Helper()
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	require.NoError(t, unix.Prlimit(w.proc.Pid, unix.RLIMIT_CORE, &unlimited, nil))
	begun := watch(t, w.dir)
	w.stdin.Close()
	begun()
	doomed = time.Now()
	w.doom()
	return doomed
}

// kernel returns the version of the running one.
func kernel(t *testing.T) (major, minor int) {
	t.Helper()
	var name unix.Utsname
	require.NoError(t, unix.Uname(&name))
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	require.NoError(t, err)
	return major, minor
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
		require.True(t, readable(fd, patience), "no core is being written")
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
