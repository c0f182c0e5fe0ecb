//go:build linux && (amd64 || arm64)

package heir

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// soon is when a fenced worker's connections have to be gone at the latest, on
// a machine with other work to do. The usual time is a tenth of a millisecond.
const soon = time.Second

// TestFenceCutsAtOnce fences workers that cannot or will not let go
// themselves: their clients are cut while they live, and their listener goes
// on for those who share it.
func TestFenceCutsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		spec   spec
		signal unix.Signal
	}{
		{"idle", spec{Heir: true}, 0},
		{"stopped", spec{Heir: true}, unix.SIGSTOP},
		{"busy", spec{Heir: true, Busy: 50}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := supervise(t, c.spec)
			u, tcp := connect(t, w.unixAddr), connect(t, w.tcpAddr)
			if c.signal != 0 {
				w.signal(c.signal)
			}
			at := time.Now()
			w.doom()
			for _, x := range []client{u, tcp} {
				end := x.cut()
				require.False(t, end.IsZero(), "the connection outlived the fence")
				assert.Less(t, end.Sub(at), soon)
			}
			require.False(t, w.dead(), "the fence alone kills nobody")

			w.kill()
			_, h := w.bury()
			assert.Equal(t, ended{}, h)
			takeOver(t, w)
		})
	}
}

// takeOver serves one connection on the dead worker's listener.
func takeOver(t *testing.T, w *supervised) {
	t.Helper()
	require.NoError(t, w.listener.SetDeadline(time.Now().Add(patience)))
	go func() {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var line [6]byte
		if _, err := c.Read(line[:]); err == nil {
			_, _ = c.Write(line[:])
		}
	}()
	connect(t, w.unixAddr)
}

// TestFenceCutsLateConnections: what a fenced worker accepts while it still
// runs is cut too.
func TestFenceCutsLateConnections(t *testing.T) {
	w := supervise(t, spec{Heir: true})
	w.doom()
	for range 3 {
		late := dial(t, w.unixAddr)
		require.False(t, late.cut().IsZero(), "a connection accepted after the fence stays")
	}
	require.False(t, w.dead())
	w.kill()
	w.bury()
}

// TestListenerIsNeverShutDown: not even when it is tracked by mistake.
func TestListenerIsNeverShutDown(t *testing.T) {
	w := supervise(t, spec{Heir: true, Track: "all"})
	c := connect(t, w.unixAddr)
	w.doom()
	require.False(t, c.cut().IsZero())
	w.kill()
	w.bury()
	takeOver(t, w)
}

// TestUntrackedStaysOpen shows that it is Track that makes the difference.
func TestUntrackedStaysOpen(t *testing.T) {
	w := supervise(t, spec{Heir: true, Track: "none"})
	tracked := connect(t, w.unixAddr)
	w.doom()
	assert.True(t, tracked.answered())
	w.kill()
	require.False(t, tracked.cut().IsZero(), "death ends every connection")
	w.bury()
}

// TestHeirCutsInRealTime: an heir that was given real time cuts every
// connection, fewer or more than it may in real time, and has given it back
// then.
func TestHeirCutsInRealTime(t *testing.T) {
	for _, connections := range []int{1, rush, rush + 1} {
		w := supervise(t, spec{Heir: true})
		fifo := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
		if err := unix.SchedSetAttr(w.heir, fifo, 0); err != nil {
			t.Skipf("real time is not granted: %v; needs CAP_SYS_NICE", err)
		}
		var clients []client
		for range connections {
			clients = append(clients, connect(t, w.unixAddr))
		}
		w.doom()
		for _, c := range clients {
			require.False(t, c.cut().IsZero())
		}
		require.Eventually(t, func() bool {
			a, err := unix.SchedGetAttr(w.heir, 0)
			return err == nil && a.Policy == unix.SCHED_NORMAL
		}, patience, time.Millisecond)
		w.kill()
		_, h := w.bury()
		assert.Equal(t, ended{}, h)
	}
}

// TestWithoutFence: an heir without a fence acts on the death alone.
func TestWithoutFence(t *testing.T) {
	w := supervise(t, spec{Heir: true, NoFence: true})
	c := connect(t, w.unixAddr)
	w.doom()
	assert.True(t, c.answered(), "the heir knows nothing of this fence")
	w.kill()
	require.False(t, c.cut().IsZero())
	w.bury()
}
