package control

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns a connection and, as a descriptor that obeys no rule, its peer.
// soPassRights is SO_PASSRIGHTS of asm-generic/socket.h.
const soPassRights = 83

func pair(t *testing.T) (conn *Conn, peer int) {
	t.Helper()
	ours, theirs, err := Pair()
	require.NoError(t, err)
	conn, err = NewConn(ours)
	require.NoError(t, err)
	require.NoError(t, ours.Close())
	// As before Linux 6.16, and at a worker's end: descriptors are received.
	require.NoError(t, conn.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, soPassRights, 1) }))
	t.Cleanup(func() { conn.Close(); theirs.Close() })
	return conn, int(theirs.Fd())
}

// passable returns a descriptor that can be passed, and what tells whether
// every copy of it is closed.
func passable(t *testing.T) (fd int, allClosed func() bool) {
	t.Helper()
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	t.Cleanup(func() { unix.Close(p[0]) })
	return p[1], func() bool {
		reader := []unix.PollFd{{Fd: int32(p[0])}} // POLLHUP is always told
		_, err := unix.Poll(reader, 0)
		require.NoError(t, err)
		return reader[0].Revents&unix.POLLHUP != 0
	}
}

// throw sends what Send refuses to send.
func throw(t *testing.T, peer int, b []byte, fds ...int) {
	t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	require.NoError(t, unix.Sendmsg(peer, b, oob, nil, unix.MSG_NOSIGNAL))
}

// expect checks that the next message is b.
func expect(t *testing.T, c *Conn, want string) {
	t.Helper()
	got, fds, err := c.Recv()
	require.NoError(t, err)
	require.Equal(t, want, string(got))
	require.Empty(t, fds)
}

func TestMessageTravelsWithItsDescriptors(t *testing.T) {
	c, peer := pair(t)
	fd, allClosed := passable(t)
	dup, err := unix.Dup(peer)
	require.NoError(t, err)
	file := os.NewFile(uintptr(dup), "peer")
	sender, err := NewConn(file)
	require.NoError(t, err)
	file.Close()
	defer sender.Close()

	require.NoError(t, sender.Send([]byte("hello"), fd, fd))
	unix.Close(fd)
	b, fds, err := c.Recv()
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	require.Len(t, fds, 2)
	require.False(t, allClosed())
	for _, fd := range fds {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC, "a received descriptor would leak into children")
		unix.Close(fd)
	}
	require.True(t, allClosed())
}

func TestLargestMessage(t *testing.T) {
	c, peer := pair(t)
	throw(t, peer, make([]byte, MaxMessage))
	b, _, err := c.Recv()
	require.NoError(t, err)
	require.Len(t, b, MaxMessage)
	require.NoError(t, c.Send(b))
	require.ErrorIs(t, c.Send(append(b, 0)), ErrOversized)
	require.ErrorIs(t, c.Send(nil), ErrEmpty)
}

// A bad datagram is refused, its descriptors are closed, and the next is read.
func TestBadDatagrams(t *testing.T) {
	for name, send := range map[string]struct {
		bytes, fds int
		want       error
	}{
		"one byte too many":       {MaxMessage + 1, 1, ErrOversized},
		"much too large":          {3 * MaxMessage / 2, 1, ErrOversized},
		"one descriptor too many": {2, MaxFDs + 1, ErrTruncatedFDs},
		"empty":                   {0, 0, ErrEmpty},
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := pair(t)
			fd, allClosed := passable(t)
			fds := make([]int, send.fds)
			for i := range fds {
				fds[i] = fd
			}
			throw(t, peer, make([]byte, send.bytes), fds...)
			throw(t, peer, []byte("next"))
			unix.Close(fd)
			_, _, err := c.Recv()
			require.ErrorIs(t, err, send.want)
			require.True(t, allClosed(), "the descriptors of a refused message must be closed")
			expect(t, c, "next")
		})
	}
}

func TestEndIsNotAnEmptyMessage(t *testing.T) {
	c, peer := pair(t)
	throw(t, peer, []byte("last words"))
	require.NoError(t, unix.Shutdown(peer, unix.SHUT_RDWR))
	expect(t, c, "last words")
	for range 2 {
		_, _, err := c.Recv()
		require.ErrorIs(t, err, io.EOF)
	}
	require.ErrorIs(t, c.Send([]byte("x")), unix.EPIPE)
}

// A peer that dies with messages of ours unread has the kernel say so before
// its last words.
func TestLastWordsAreReadDespiteReset(t *testing.T) {
	ours, theirs, err := Pair()
	require.NoError(t, err)
	c, err := NewConn(ours)
	require.NoError(t, err)
	defer c.Close()
	ours.Close()
	require.NoError(t, c.Send([]byte("never read")))
	throw(t, int(theirs.Fd()), []byte("last words"))
	theirs.Close()
	expect(t, c, "last words")
	_, _, err = c.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestSendDoesNotWaitForADeafPeer(t *testing.T) {
	c, peer := pair(t)
	sent := 0
	var err error
	for err == nil && sent < 100_000 {
		err = c.Send([]byte("are you there?"))
		sent++
	}
	require.ErrorIs(t, err, ErrFull)
	_, err = unix.Read(peer, make([]byte, 100))
	require.NoError(t, err)
	require.NoError(t, c.Send([]byte("there is room again")))
}

func TestRecvCanBeBoundedAndEnded(t *testing.T) {
	c, _ := pair(t)
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Millisecond)))
	_, _, err := c.Recv()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetDeadline(time.Time{}))
	ended := make(chan error)
	go func() {
		_, _, err := c.Recv()
		ended <- err
	}()
	c.Close()
	require.ErrorIs(t, <-ended, net.ErrClosed)
}

func TestNewConnRefusesOtherDescriptors(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	_, err = NewConn(r)
	require.ErrorContains(t, err, "control socket")

	stream, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(stream[1])
	f := os.NewFile(uintptr(stream[0]), "stream")
	defer f.Close()
	_, err = NewConn(f)
	require.ErrorContains(t, err, "SOCK_SEQPACKET")
}

// Nobody here is woken when the peer has read something, as a standby does with
// its activation in the first millisecond of a failover.
func TestOnlyWhatThereIsToReadWakes(t *testing.T) {
	a, _ := pair(t)
	var fd int
	require.NoError(t, a.raw.Control(func(n uintptr) { fd = int(n) }))
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	require.NoError(t, err)
	watchers := 0
	for _, info := range infos {
		b, err := os.ReadFile(info) // gone, if it is the search's own
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) { // proc(5): "tfd: 7 events: 2019 data: …"
			var watched int
			var events uint32
			if n, _ := fmt.Sscanf(line, "tfd: %d events: %x", &watched, &events); n == 2 && watched == fd {
				watchers++
				require.Zero(t, events&unix.EPOLLOUT, "%s: %s", info, line)
			}
		}
	}
	require.Equal(t, 1, watchers)
}
