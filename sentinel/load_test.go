package sentinel

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// herd starts n children at little cost: they share their pipes and a group.
func herd(t *testing.T, n int) (all []*process, group int) {
	t.Helper()
	image, err := childImage()
	require.NoError(t, err)
	defer image.Close()
	var stdin, stdout [2]int
	require.NoError(t, unix.Pipe2(stdin[:], unix.O_CLOEXEC))
	require.NoError(t, unix.Pipe2(stdout[:], unix.O_CLOEXEC))
	defer unix.Close(stdin[0])
	defer unix.Close(stdout[1])
	defer unix.Close(stdout[0])
	path := fmt.Sprintf("/proc/self/fd/%d", image.Fd())
	t.Cleanup(func() {
		for _, p := range all {
			_ = unix.Kill(p.pid, unix.SIGKILL)
			_, _ = unix.Wait4(p.pid, nil, 0, nil)
			if p.pidfd >= 0 {
				unix.Close(p.pidfd)
			}
		}
		unix.Close(stdin[1])
	})
	for range n {
		p := &process{t: t, pidfd: -1}
		p.pid, err = syscall.ForkExec(path, []string{"herd"}, &syscall.ProcAttr{
			Files: []uintptr{uintptr(stdin[0]), uintptr(stdout[1])},
			Sys:   &syscall.SysProcAttr{Setpgid: true, Pgid: group},
		})
		require.NoError(t, err)
		if group == 0 {
			group = p.pid
		}
		all = append(all, p)
		var ready [1]byte
		_, err = unix.Read(stdout[0], ready[:])
		require.NoError(t, err)
	}
	for _, p := range all { // not sooner: each start copies the table of descriptors
		p.pidfd, err = unix.PidfdOpen(p.pid, 0)
		require.NoError(t, err)
	}
	return all, group
}

// counted is a handler that counts by kind and notes what is out of order.
type counted struct {
	kinds [Exited + 1]atomic.Int64
	wrong atomic.Int64
	done  chan struct{}
	n     int64
}

func (c *counted) watch(t *testing.T, s *Sentinel, all []*process) {
	c.done, c.n = make(chan struct{}), int64(len(all))
	for _, p := range all {
		last := Kind(0)
		require.NoError(t, s.Watch(p.pid, p.pidfd, func(n Notice) {
			if n.Kind <= last || n.Pid != p.pid {
				c.wrong.Add(1)
			}
			last = n.Kind
			c.kinds[n.Kind].Add(1)
			if n.Kind == Exited && c.kinds[Exited].Load() == c.n {
				close(c.done)
			}
		}))
	}
}

func TestFiveThousandProcesses(t *testing.T) {
	const n = 5000
	var files unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
	if files.Cur < n+100 {
		t.Skipf("RLIMIT_NOFILE is %d; %d watched processes need %d: raise it with ulimit -n", files.Cur, n, n+100)
	}
	each(t, func(t *testing.T, s *Sentinel) {
		goroutines := runtime.NumGoroutine()
		all, group := herd(t, n)
		var c counted
		c.watch(t, s, all)
		require.Equal(t, goroutines, runtime.NumGoroutine())
		begin := time.Now()
		require.NoError(t, unix.Kill(-group, unix.SIGKILL))
		select {
		case <-c.done:
		case <-time.After(patient):
			t.Fatalf("%d of %d deaths within %v", c.kinds[Exited].Load(), n, patient)
		}
		t.Logf("%d deaths in %v; %d doomed and %d fenced, %d records lost", n, time.Since(begin),
			c.kinds[Doomed].Load(), c.kinds[Fenced].Load(), s.Lost())
		require.Zero(t, c.wrong.Load())
		if s.source == SourceKernel {
			require.Positive(t, c.kinds[Doomed].Load())
			require.GreaterOrEqual(t, int64(s.Lost())+c.kinds[Doomed].Load(), int64(n))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		require.Empty(t, s.byPid)
	})
}

// Records that find no room are counted, and the pidfds tell of those deaths.
func TestLostRecordsAreCountedAndHealed(t *testing.T) {
	s := start(t, Options{Source: SourceKernel, ringSize: os.Getpagesize()}) // 128 records
	all, group := herd(t, 300)
	stall, stalled := make(chan struct{}), make(chan struct{})
	p := tiny(t)
	require.NoError(t, s.Watch(p.pid, p.pidfd, func(n Notice) {
		if n.Kind == Doomed {
			close(stalled)
			<-stall // against the rule, so that nobody reads the ring
		}
	}))
	var c counted
	c.watch(t, s, all)
	p.kill(unix.SIGKILL)
	<-stalled
	require.NoError(t, unix.Kill(-group, unix.SIGKILL))
	for _, p := range all {
		require.True(t, readable(p.pidfd, patient))
	}
	close(stall)
	<-c.done
	require.Positive(t, s.Lost())
	require.Less(t, c.kinds[Doomed].Load(), int64(len(all)))
	require.Zero(t, c.wrong.Load())
}

func TestAFullMapLeavesThePidfd(t *testing.T) {
	s := start(t, Options{Source: SourceKernel})
	k := s.early.(*kernelEvents)
	// A process that the map does not know, as when it was full.
	p := tiny(t)
	p.watch(s)
	k.unwatch(p.pid)
	p.kill(unix.SIGKILL)
	require.Equal(t, []Kind{Exited}, kinds(p.death()))
}

func TestANoticeAllocatesNothing(t *testing.T) {
	for _, source := range []Source{SourceKernel, SourceConnector, SourcePidfd} {
		t.Run(source.String(), func(t *testing.T) {
			s, err := New(Options{Source: source})
			if err != nil {
				t.Skip(err)
			}
			defer s.release()
			const deaths = 50
			all, _ := herd(t, deaths+1)
			ended := 0
			h := func(n Notice) {
				if n.Kind == Exited {
					ended++
				}
			}
			for _, p := range all {
				require.NoError(t, s.Watch(p.pid, p.pidfd, h))
			}
			i := 0
			allocs := testing.AllocsPerRun(deaths, func() {
				_ = unix.Kill(all[i].pid, unix.SIGABRT)
				for i++; ended < i; {
					_ = s.step()
				}
			})
			require.Zero(t, allocs)
		})
	}
}

// loadedSentinel watches one process after another that the test names on
// stdin, and says how long after the kernel its thread saw that it is doomed.
func loadedSentinel() {
	s, err := New(Options{Realtime: true})
	if err != nil {
		say("%v", err)
		return
	}
	go func() {
		for {
			pid, _ := strconv.Atoi(strings.TrimSpace(read()))
			pidfd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				say("%v", err)
				os.Exit(1)
			}
			if err := s.Watch(pid, pidfd, func(n Notice) {
				if n.Kind == Doomed {
					say("%d", n.Seen-n.At)
				}
			}); err != nil {
				say("%v", err)
				os.Exit(1)
			}
			say("watching")
		}
	}()
	say("ready")
	_ = s.Run(func() {})
}

// A sentinel in a process of its own is out of reach of the Go scheduler of
// the process that it serves. One inside it is not: it notices half of the
// deaths when a goroutine has run for its whole turn. Both are asked in turn, so
// that the machine's load meets both.
func TestBusyGoroutinesBesideASentinelProcess(t *testing.T) {
	inside := start(t, Options{Realtime: true})
	if inside.source != SourceKernel {
		t.Skip(inside.Status()[0].Why)
	}
	p := run(t, "load", func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "GOMAXPROCS=2") })
	const deaths = 15
	all, _ := herd(t, 2*deaths)
	var stop atomic.Bool
	defer stop.Store(true)
	for range 8 {
		go func() {
			for !stop.Load() {
			}
		}()
	}
	var ours, theirs []time.Duration
	for i := 0; i < 2*deaths; i += 2 {
		noticed := make(chan time.Duration, 1)
		require.NoError(t, inside.Watch(all[i].pid, all[i].pidfd, func(n Notice) {
			if n.Kind == Doomed {
				noticed <- time.Duration(n.Seen - n.At)
			}
		}))
		require.NoError(t, unix.Kill(all[i].pid, unix.SIGKILL))
		ours = append(ours, <-noticed)

		c := all[i+1]
		_, err := fmt.Fprintln(p.stdin, c.pid)
		require.NoError(t, err)
		require.Equal(t, "watching", p.line())
		require.NoError(t, unix.Kill(c.pid, unix.SIGKILL))
		ns, err := strconv.Atoi(p.line())
		require.NoError(t, err)
		theirs = append(theirs, time.Duration(ns))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	t.Logf("median and worst: in a process of its own %v, %v; in the busy one %v, %v",
		theirs[deaths/2], theirs[deaths-1], ours[deaths/2], ours[deaths-1])
	require.Less(t, theirs[deaths/2], ours[deaths/2]/4)
}
