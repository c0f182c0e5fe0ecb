package sentinel

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/monotime"
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

// held is a process whose core dump waits, since then, to be written to its
// directory, and the sentinel that holds it.
func held(t *testing.T, rest time.Duration) (s *Sentinel, p *process, dir string, since int64) {
	s = start(t, Options{dumpRest: rest})
	if s.gate == nil {
		t.Skipf("dumps cannot be held back here: %+v", s.Status())
	}
	if s.gate.directory != "cwd" {
		t.Skipf("kernel.core_pattern puts dumps elsewhere than into a process's directory: %s", s.gate.directory)
	}
	p, _, dir = runBusy(t, 1)
	p.tell()
	require.Equal(t, "deadly", p.line())
	p.watch(s)
	var trigger [2]int
	require.NoError(t, unix.Pipe2(trigger[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	t.Cleanup(func() {
		unix.Close(trigger[0])
		unix.Close(trigger[1])
	})
	done := make(chan struct{}, 1)
	require.NoError(t, s.WatchFD(trigger[0], func() { // on the sentinel's thread
		var b [1]byte
		if n, _ := unix.Read(trigger[0], b[:]); n == 1 {
			s.HoldDump(p.pid)
			done <- struct{}{}
		}
	}))
	since = monotime.Now()
	_, err := unix.Write(trigger[1], []byte{1})
	require.NoError(t, err)
	<-done
	p.kill(unix.SIGSEGV)
	require.Eventually(t, func() bool { return coreFile(dir) != "" }, patient, time.Millisecond)
	return s, p, dir, since
}

// The dump begins when it may, and not before, and is whole; others who open
// files of the directory do not wait with it.
func TestHoldDump(t *testing.T) {
	const rest = time.Second
	_, p, dir, since := held(t, rest)
	_, err := os.ReadFile(filepath.Join(dir, "counters"))
	require.NoError(t, err)
	if monotime.Now()-since < int64(rest) { // otherwise the test itself was held up
		require.Zero(t, coreSize(dir), "a file of the directory was read before the dump began")
	}
	all := p.death()
	require.GreaterOrEqual(t, all[len(all)-1].Seen-since, int64(rest))
	require.True(t, p.reap().CoreDumped)
	requireWholeCore(t, dir, 1<<20)
}

// Whoever holds a dump may end: the dump goes on.
func TestTheEndOfTheSentinelLetsTheDumpBegin(t *testing.T) {
	s, p, dir, _ := held(t, time.Hour)
	require.False(t, readable(p.pidfd, 20*time.Millisecond))
	s.Close()
	require.True(t, p.reap().CoreDumped)
	requireWholeCore(t, dir, 1<<20)
}

// A dump that waits does not keep its process from being killed.
func TestAHeldDumpCanBeKilled(t *testing.T) {
	_, p, _, _ := held(t, time.Hour)
	p.kill(unix.SIGKILL)
	require.False(t, p.reap().CoreDumped)
}

// However many dumps are under way, the ones that are held are bounded, and
// each waits no longer than it should. Who will leave no core is not held.
func TestHeldDumpsAreBounded(t *testing.T) {
	g, f := openDumpGate(true, time.Millisecond)
	if g == nil {
		t.Skip(f.Why)
	}
	defer g.close()
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("file", nil, 0o600))
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_CORE, &limit))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_CORE, &limit)) }()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: limit.Max}))
	g.hold(os.Getpid())
	require.Empty(t, g.held)
	if limit.Max == 0 {
		t.Skip("the hard limit of RLIMIT_CORE is 0: no dump is possible")
	}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: limit.Max, Max: limit.Max}))
	for range maxHeld + 1 {
		g.hold(os.Getpid())
	}
	require.Len(t, g.held, maxHeld)
	require.True(t, readable(g.timer, patient))
	require.Eventually(t, func() bool { g.onTimer(); return len(g.held) == 0 }, patient, time.Millisecond)
	_, err := os.ReadFile("file") // nobody is asked any more
	require.NoError(t, err)
}
