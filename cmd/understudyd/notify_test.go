package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// serviceManager is what a service manager hears.
type serviceManager struct {
	t      *testing.T
	socket *net.UnixConn
}

// listening makes the service manager that what this test starts will tell.
func listening(t *testing.T, dir string) *serviceManager {
	t.Helper()
	path := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &serviceManager{t: t, socket: socket}
}

// next returns the lines of the next message.
func (m *serviceManager) next() []string {
	m.t.Helper()
	buf := make([]byte, 500)
	require.NoError(m.t, m.socket.SetReadDeadline(time.Now().Add(time.Minute)))
	n, err := m.socket.Read(buf)
	require.NoError(m.t, err)
	return strings.Split(strings.TrimSpace(string(buf[:n])), "\n")
}

func TestTheServiceManagerIsTold(t *testing.T) {
	dir := home(t)
	manager := listening(t, dir)
	t.Setenv("WATCHDOG_USEC", "200000")
	d := start(t, dir)
	m := manager.next()
	require.Equal(t, "READY=1", m[0])
	require.Regexp(t, `^STATUS=0 bindings, \d+ workers, \d+ of them standing by$`, m[1])
	for range 3 {
		m = manager.next()
		require.Equal(t, "WATCHDOG=1", m[0])
		require.Contains(t, m[1], "STATUS=0 bindings")
	}
	require.NoError(t, d.cmd.Process.Signal(unix.SIGTERM))
	for m[0] == "WATCHDOG=1" {
		m = manager.next()
	}
	require.Equal(t, []string{"STOPPING=1", "STATUS=ending bindings and workers"}, m)
	require.Zero(t, d.wait(t))
}

// stuck is a supervisor that answers, or stands still.
type stuck struct{ still atomic.Bool }

func (s *stuck) Summary(timeout time.Duration) (string, error) {
	if s.still.Load() {
		<-time.After(timeout)
		return "", errors.New("the event loop does not answer")
	}
	return "fine", nil
}

// The watchdog is not to be told that a supervisor runs that stands still.
func TestTheWatchdogHearsNothingOfALoopThatStandsStill(t *testing.T) {
	manager := listening(t, t.TempDir())
	t.Setenv("WATCHDOG_USEC", "20000")
	s := &stuck{}
	s.still.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // 30 beats
	defer cancel()
	go tellServiceManager(ctx, s)
	require.Equal(t, []string{"READY=1"}, manager.next())
	require.Equal(t, "STOPPING=1", manager.next()[0], "and nothing between")

	manager = listening(t, t.TempDir())
	ctx, cancel = context.WithCancel(t.Context())
	told := make(chan struct{})
	go func() { tellServiceManager(ctx, s); close(told) }()
	require.Equal(t, []string{"READY=1"}, manager.next())
	s.still.Store(false)
	require.Equal(t, []string{"WATCHDOG=1", "STATUS=fine"}, manager.next())
	cancel()
	<-told
}
