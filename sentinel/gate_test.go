package sentinel

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDumpDirectory(t *testing.T) {
	for pattern, want := range map[string]string{
		"core":                     "cwd",
		"":                         "cwd",
		"core.%e.%p":               "cwd",
		"cores/%p":                 "cwd/cores",
		"/var/crash/core.%E":       "root/var/crash",
		"/core":                    "root",
		"|/usr/lib/dump %P":        "",
		"@/run/dump.socket":        "",
		"/var/crash/%e/core":       "",
		"/var/crash/../lib/core.x": "root/var/lib",
	} {
		got, err := dumpDirectory(pattern)
		require.Equal(t, want, got, pattern)
		require.Equal(t, want == "", err != nil, pattern)
	}
}

// gated is a process that is about to dump core, in a directory of its own,
// and a sentinel that is told to hold its dump when told is called.
func gated(t *testing.T, rest time.Duration) (s *Sentinel, p *process, dir string, told func()) {
	s = start(t, Options{dumpRest: rest})
	if s.gate == nil || s.gate.directory != "cwd" {
		t.Skipf("dumps cannot be held back here: %+v", s.Status())
	}
	p, _, dir = runBusy(t, 1)
	p.tell()
	require.Equal(t, "deadly", p.line())
	p.watch(s)
	var trigger [2]int
	require.NoError(t, unix.Pipe2(trigger[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	done := make(chan struct{}, 1)
	require.NoError(t, s.WatchFD(trigger[0], func() {
		var b [1]byte
		if n, _ := unix.Read(trigger[0], b[:]); n == 1 {
			s.HoldDump(p.pid)
			done <- struct{}{}
		}
	}))
	t.Cleanup(func() {
		unix.Close(trigger[0])
		unix.Close(trigger[1])
	})
	return s, p, dir, func() {
		_, err := unix.Write(trigger[1], []byte{1})
		require.NoError(t, err)
		<-done
	}
}

// awaitCore waits until the file is there: its opener then waits at the gate.
func awaitCore(t *testing.T, dir string) {
	require.Eventually(t, func() bool { return coreFile(dir) != "" }, patient, time.Millisecond)
}

// The dump begins when it may, and not before, and is whole; others who open
// files of the directory do not wait with it.
func TestHoldDump(t *testing.T) {
	const rest = time.Second
	_, p, dir, told := gated(t, rest)
	before := Now()
	told()
	p.kill(unix.SIGSEGV)
	awaitCore(t, dir)
	_, err := os.ReadFile(filepath.Join(dir, "counters"))
	require.NoError(t, err)
	if Now()-before < int64(rest) { // otherwise the test itself was held up
		require.Zero(t, coreSize(dir), "a file of the directory was read before the dump began")
	}
	all := p.death()
	require.GreaterOrEqual(t, all[len(all)-1].Seen-before, int64(rest))
	require.True(t, p.reap().CoreDumped)
	requireWholeCore(t, dir, 1<<20)
}

// Whoever holds a dump may end: the dump goes on.
func TestTheEndOfTheSentinelLetsTheDumpBegin(t *testing.T) {
	s, p, dir, told := gated(t, time.Hour)
	told()
	p.kill(unix.SIGSEGV)
	awaitCore(t, dir)
	require.False(t, readable(p.pidfd, 20*time.Millisecond))
	s.Close()
	require.True(t, p.reap().CoreDumped)
	requireWholeCore(t, dir, 1<<20)
}

// A dump that waits does not keep its process from being killed.
func TestAHeldDumpCanBeKilled(t *testing.T) {
	_, p, dir, told := gated(t, time.Hour)
	told()
	p.kill(unix.SIGSEGV)
	awaitCore(t, dir)
	p.kill(unix.SIGKILL)
	require.False(t, p.reap().CoreDumped)
}

// However many dumps are under way, the ones that are held are bounded, and
// each waits no longer than it should.
func TestHeldDumpsAreBounded(t *testing.T) {
	g, f := openDumpGate(time.Millisecond)
	if g == nil || g.directory == "" {
		t.Skip(f.Why)
	}
	defer g.close()
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("file", nil, 0o600))
	for range maxHeld + 1 {
		g.hold(os.Getpid())
	}
	require.Len(t, g.held, maxHeld)
	require.True(t, readable(g.timer, patient))
	require.Eventually(t, func() bool { g.onTimer(); return len(g.held) == 0 }, patient, time.Millisecond)
	_, err := os.ReadFile("file") // nobody is asked any more
	require.NoError(t, err)
}
