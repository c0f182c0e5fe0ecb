package deepqueue

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Open where it cannot be is another test's business.
func namespace(t *testing.T, limit int) *Namespace {
	t.Helper()
	n, err := Open(limit)
	if err != nil {
		t.Skipf("no network namespace can be made here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// waiting connects without waiting until it is refused, at most most times.
func waiting(t *testing.T, path string, most int) (connected int) {
	t.Helper()
	for range most {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			require.ErrorIs(t, err, unix.EAGAIN)
			return connected
		}
		connected++
	}
	return connected
}

func TestMoreWaitThanTheMachineAllows(t *testing.T) {
	machine, err := Somaxconn()
	require.NoError(t, err)
	before, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	wanted := machine + 100
	var room unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &room))
	if room.Max < uint64(wanted+200) {
		t.Skipf("%d descriptors are too few for %d clients", room.Max, wanted)
	}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: room.Max, Max: room.Max}))
	n := namespace(t, wanted)
	require.Equal(t, wanted, n.Limit())
	fd, err := n.Socket()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "s")
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Listen(fd, wanted)) // here, in the machine's namespace
	f := os.NewFile(uintptr(fd), path)
	l, err := net.FileListener(f)
	require.NoError(t, err)
	f.Close()
	defer l.Close()
	require.GreaterOrEqual(t, waiting(t, path, wanted), wanted)

	c, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = c.Write([]byte("x"))
	require.NoError(t, err, "and they are served as any other")
	c.Close()

	after, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	require.Equal(t, before, after, "the process is where it was")
	still, err := Somaxconn()
	require.NoError(t, err)
	require.Equal(t, machine, still, "and so is the machine's limit")
}

// No thread of the process stays in the namespace, whoever runs on it next.
func TestThreadsComeBack(t *testing.T) {
	n := namespace(t, 10)
	for range 50 {
		fd, err := n.Socket()
		require.NoError(t, err)
		unix.Close(fd)
	}
	want, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	threads, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, th := range threads {
		got, err := os.Readlink(filepath.Join("/proc/self/task", th.Name(), "ns/net"))
		if errors.Is(err, os.ErrNotExist) {
			continue // ended meanwhile
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
