package sentinel

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/monotime"
)

func TestEveryDeathIsToldOncePerStep(t *testing.T) {
	deaths := []struct {
		name, mode string
		die        func(*process)
		status     string
		signal     unix.Signal
		core       bool // a signal whose default is a core dump
	}{
		{"SIGKILL", "idle", func(p *process) { p.kill(unix.SIGKILL) }, "killed by SIGKILL", unix.SIGKILL, false},
		{"SIGUSR1 by default", "child", func(p *process) { p.kill(unix.SIGUSR1) }, "killed by SIGUSR1", unix.SIGUSR1, false},
		{"SIGSEGV by default", "child", func(p *process) { p.kill(unix.SIGSEGV) }, "killed by SIGSEGV", unix.SIGSEGV, true},
		{"end of input", "idle", func(p *process) { p.tell() }, "exited with code 0", 0, false},
		{"exit code", "exit", func(p *process) { p.tell() }, "exited with code 3", 0, false},
		{"panic", "panic", func(p *process) { p.tell() }, "exited with code 2", 0, false},
		{"fault that nobody recovers", "crash", func(p *process) { p.tell() }, "killed by SIGABRT", unix.SIGABRT, true},
	}
	each(t, func(t *testing.T, s *Sentinel) {
		for _, d := range deaths {
			t.Run(d.name, func(t *testing.T) {
				p := tiny(t)
				if d.mode != "child" {
					p = run(t, d.mode)
				}
				p.watch(s)
				before := monotime.Now()
				d.die(p)
				all := p.death()
				want := []Kind{Exited}
				switch {
				case s.source == SourceKernel && len(all) == 2: // the thread that exits is the last
					want = []Kind{Fenced, Exited}
				case s.source == SourceKernel:
					want = []Kind{Doomed, Fenced, Exited}
				case s.source == SourceConnector && d.core:
					want = []Kind{Doomed, Exited}
				}
				require.Equal(t, want, kinds(all))
				for i, n := range all {
					require.Equal(t, p.pid, n.Pid)
					require.Less(t, before, n.Seen)
					if n.Kind == Exited {
						require.Equal(t, SourcePidfd, n.Source)
						require.Zero(t, n.At)
						continue
					}
					require.Equal(t, s.source, n.Source)
					require.Less(t, before, n.At)
					require.LessOrEqual(t, n.At, n.Seen)
					require.True(t, slices.IsSortedFunc(all[:i+1], func(a, b Notice) int { return int(a.At - b.At) }))
					if s.source == SourceKernel {
						require.Equal(t, int(d.signal), n.Signal)
					}
				}
				require.Equal(t, d.status, p.reap().String())
				require.Zero(t, s.Lost())
			})
		}
	})
}

// tiny starts the throw-away child: no runtime, no handlers.
func tiny(t *testing.T) *process {
	t.Helper()
	image, err := childImage()
	require.NoError(t, err)
	defer image.Close()
	c, err := startChild(image, patient)
	require.NoError(t, err)
	t.Cleanup(c.end)
	return &process{t: t, pid: c.pid, pidfd: c.pidfd, notices: make(chan Notice, 16)}
}

func TestDeadAlreadyIsToldAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *Sentinel) {
		p := tiny(t)
		p.kill(unix.SIGKILL)
		require.True(t, readable(p.pidfd, patient))
		p.watch(s)
		require.Equal(t, []Kind{Exited}, kinds(p.death()))
	})
}

// What looks like a death and is none.
func TestNoDeath(t *testing.T) {
	lives := []struct {
		mode string
		live func(t *testing.T, p *process)
	}{
		{"fault", func(t *testing.T, p *process) {
			for range 3 {
				p.tell()
				require.Equal(t, "recovered true", p.line())
			}
		}},
		{"sigterm", func(t *testing.T, p *process) {
			for range 3 {
				p.kill(unix.SIGTERM)
				require.Equal(t, "got SIGTERM", p.line())
			}
			for _, harmless := range []unix.Signal{unix.SIGHUP, unix.SIGURG, unix.SIGWINCH, unix.SIGCHLD,
				unix.SIGSTOP, unix.SIGCONT, unix.SIGTSTP, unix.SIGCONT, unix.SIGTTIN, unix.SIGCONT} {
				p.kill(harmless)
			}
			p.tell()
			require.Equal(t, "alive", p.line())
		}},
		{"leader first", func(t *testing.T, p *process) {
			p.tell()
			require.Equal(t, "alive", p.line())
			p.tell()
			require.Equal(t, "alive", p.line())
		}},
		{"exec", func(t *testing.T, p *process) {
			p.tell()
			require.Equal(t, "ready", p.line()) // of the new program
		}},
	}
	each(t, func(t *testing.T, s *Sentinel) {
		for _, l := range lives {
			t.Run(l.mode, func(t *testing.T) {
				p := run(t, l.mode)
				p.watch(s)
				l.live(t, p)
				before := monotime.Now()
				p.kill(unix.SIGKILL)
				all := p.death()
				if s.source == SourceKernel {
					require.Equal(t, []Kind{Doomed, Fenced, Exited}, kinds(all))
					require.Less(t, before, all[0].At, "doomed before it was killed")
				} else {
					require.Equal(t, []Kind{Exited}, kinds(all))
				}
				require.Less(t, before, all[0].Seen)
			})
		}
	})
}

func TestUnwatchEndsTheNotices(t *testing.T) {
	each(t, func(t *testing.T, s *Sentinel) {
		unwatched, watched := tiny(t), tiny(t)
		unwatched.watch(s)
		watched.watch(s)
		s.Unwatch(unwatched.pid)
		s.Unwatch(unwatched.pid) // again is nothing
		unwatched.kill(unix.SIGKILL)
		require.True(t, readable(unwatched.pidfd, patient))
		watched.kill(unix.SIGKILL)
		watched.death()
		require.Empty(t, unwatched.notices)
		unwatched.watch(s) // and from the beginning again
		require.Equal(t, []Kind{Exited}, kinds(unwatched.death()))
	})
}

func TestHandlersMayWatchAndUnwatch(t *testing.T) {
	each(t, func(t *testing.T, s *Sentinel) {
		first, second, third := tiny(t), tiny(t), tiny(t)
		third.watch(s)
		result := make(chan error, 1)
		require.NoError(t, s.Watch(first.pid, first.pidfd, func(n Notice) {
			if n.Kind == Exited {
				s.Unwatch(third.pid)
				result <- s.Watch(second.pid, second.pidfd, func(n Notice) { second.notices <- n })
			}
		}))
		first.kill(unix.SIGKILL)
		require.NoError(t, <-result)
		third.kill(unix.SIGKILL)
		require.True(t, readable(third.pidfd, patient))
		second.kill(unix.SIGKILL)
		second.death()
		require.Empty(t, third.notices)
	})
}

func TestUnwatchInADoomedHandlerEndsTheNotices(t *testing.T) {
	s := start(t, Options{Source: SourceKernel})
	p, last := tiny(t), tiny(t)
	last.watch(s)
	require.NoError(t, s.Watch(p.pid, p.pidfd, func(n Notice) {
		s.Unwatch(p.pid)
		p.notices <- n
	}))
	p.kill(unix.SIGKILL)
	require.True(t, readable(p.pidfd, patient))
	last.kill(unix.SIGKILL)
	last.death()
	require.Equal(t, Doomed, (<-p.notices).Kind)
	require.Empty(t, p.notices)
}

func TestWrongUseIsRefused(t *testing.T) {
	s := start(t, Options{Source: SourcePidfd})
	p := tiny(t)
	p.watch(s)
	require.ErrorContains(t, s.Watch(p.pid, p.pidfd, nil), "is watched already")
	require.ErrorIs(t, s.Watch(0, p.pidfd, nil), unix.EINVAL)
	require.ErrorIs(t, s.Watch(p.pid+1, -1, nil), unix.EBADF)
	require.ErrorIs(t, s.WatchFD(-1, nil), unix.EBADF)
	s.Close()
	s.Close()
	<-s.Done()
	require.ErrorIs(t, s.Watch(p.pid+1, p.pidfd, nil), ErrClosed)
	s.Unwatch(p.pid)
	require.Zero(t, s.Lost())
}

func TestOtherDescriptorsShareTheThread(t *testing.T) {
	s := start(t, Options{})
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	threads := make(chan int, 2)
	require.NoError(t, s.WatchFD(pipe[0], func() {
		var b [1]byte
		if n, _ := unix.Read(pipe[0], b[:]); n == 1 { // not at the end, when the test closes it
			threads <- unix.Gettid()
		}
	}))
	_, err := unix.Write(pipe[1], []byte{1})
	require.NoError(t, err)
	p := tiny(t)
	require.NoError(t, s.Watch(p.pid, p.pidfd, func(n Notice) {
		if n.Kind == Exited {
			threads <- unix.Gettid()
		}
	}))
	p.kill(unix.SIGKILL)
	require.Equal(t, <-threads, <-threads)
}
