package sentinel

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func (p *process) notice() Notice {
	p.t.Helper()
	select {
	case n := <-p.notices:
		return n
	case <-time.After(patient):
		p.t.Fatal("no notice")
		return Notice{}
	}
}

// A muted exit is not told, whatever else wakes the sentinel, until it may be.
func TestMutedExitIsToldLater(t *testing.T) {
	each(t, func(t *testing.T, s *Sentinel) {
		wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		require.NoError(t, err)
		defer unix.Close(wake)
		woken := make(chan struct{}, 1)
		require.NoError(t, s.WatchFD(wake, func() {
			var b [8]byte
			_, _ = unix.Read(wake, b[:])
			woken <- struct{}{}
		}))
		p := run(t, "idle")
		p.watch(s)
		require.True(t, s.Mute(p.pid))
		p.kill(unix.SIGKILL)
		require.True(t, readable(p.pidfd, patient))
		_, err = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		require.NoError(t, err)
		<-woken // deaths come before all else that one wake-up finds
		for range len(p.notices) {
			require.NotEqual(t, Exited, (<-p.notices).Kind)
		}
		s.Unmute(p.pid)
		all := p.death()
		require.Equal(t, Exited, all[len(all)-1].Kind)
		require.False(t, s.Mute(p.pid), "it is not watched any more")
		s.Unmute(p.pid)
	})
}

// With QuietFence the fence of a death that was told wakes nobody, but is not
// lost. With 50 threads it comes long after the first notice.
func TestQuietFenceComesWithTheNextNotice(t *testing.T) {
	s := start(t, Options{Source: SourceKernel, Realtime: true, QuietFence: true})
	for range 5 {
		p, _, _ := runBusy(t, 16)
		p.watch(s)
		require.True(t, s.Mute(p.pid))
		p.kill(unix.SIGKILL)
		require.Equal(t, Doomed, p.notice().Kind)
		require.True(t, readable(p.pidfd, patient)) // fenced long ago
		early := len(p.notices)
		s.Unmute(p.pid)
		fenced, exited := p.notice(), p.notice()
		require.Equal(t, []Kind{Fenced, Exited}, kinds([]Notice{fenced, exited}))
		if early == 0 {
			require.Equal(t, exited.Seen, fenced.Seen, "they came with one wake-up")
			return
		}
		// The sentinel was so late that the first wake-up found both.
	}
	t.Fatal("each time the fence was told without anything else to tell")
}

// A process whose only thread exits gives no other early notice: its fence
// wakes the sentinel all the same.
func TestQuietFenceWakesWhereItIsTheFirst(t *testing.T) {
	s := start(t, Options{Source: SourceKernel, Realtime: true, QuietFence: true})
	image, err := childImage()
	require.NoError(t, err)
	defer image.Close()
	c, err := startChild(image, patient)
	require.NoError(t, err)
	defer c.end()
	notices := make(chan Notice, 4)
	require.NoError(t, s.Watch(c.pid, c.pidfd, func(n Notice) { notices <- n }))
	require.True(t, s.Mute(c.pid)) // so that nothing else wakes it
	c.exit()
	select {
	case n := <-notices:
		require.Equal(t, Fenced, n.Kind)
	case <-time.After(patient):
		t.Fatal("no notice")
	}
}
