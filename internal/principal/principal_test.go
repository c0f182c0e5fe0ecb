package principal

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dialEnv makes the test binary a process that connects and waits.
const dialEnv = "PRINCIPAL_TEST_DIAL"

func TestMain(m *testing.M) {
	if to := os.Getenv(dialEnv); to != "" {
		network, address := "tcp4", to
		if filepath.IsAbs(to) {
			network = "unix"
		}
		c, err := net.Dial(network, address)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("connected")
		_, _ = io.Copy(io.Discard, os.Stdin)
		c.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// stranger connects to an address as another user, with these groups, until the
// test ends. It returns the process id.
func stranger(t *testing.T, to string, uid, gid uint32, groups ...uint32) int {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	dir, err := os.MkdirTemp("", "who")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	exe, err := os.Executable()
	require.NoError(t, err)
	binary, err := os.ReadFile(exe)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dial"), binary, 0o755))
	cmd := exec.Command(filepath.Join(dir, "dial"))
	cmd.Dir, cmd.Env, cmd.Stderr = "/", append(os.Environ(), dialEnv+"="+to), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		require.NoError(t, cmd.Wait())
	})
	said := make([]byte, len("connected"))
	_, err = io.ReadFull(stdout, said)
	require.NoError(t, err)
	return cmd.Process.Pid
}

// listener listens at an address that everybody can reach.
func listener(t *testing.T, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "who")
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		require.NoError(t, os.Chmod(dir, 0o755))
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	if network == "unix" {
		require.NoError(t, os.Chmod(address, 0o666))
	}
	return l
}

func accepted(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestOurselves(t *testing.T) {
	for _, network := range []string{"unix", "tcp4"} {
		l := listener(t, network)
		c, err := net.Dial(network, l.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		p, err := Of(accepted(t, l))
		require.NoError(t, err)
		require.EqualValues(t, os.Geteuid(), p.UID)
		if network == "unix" {
			require.EqualValues(t, os.Getpid(), p.PID)
			require.EqualValues(t, os.Getegid(), p.GID)
			require.True(t, p.Complete)
		}
	}
}

func TestAnotherUser(t *testing.T) {
	for _, network := range []string{"unix", "tcp4"} {
		l := listener(t, network)
		many := make([]uint32, 100) // more than one getsockopt takes
		for i := range many {
			many[i] = uint32(1000 + i)
		}
		pid := stranger(t, l.Addr().String(), 65534, 4711, many...)
		p, err := Of(accepted(t, l))
		require.NoError(t, err)
		require.EqualValues(t, 65534, p.UID)
		if network == "unix" {
			require.Equal(t, Principal{UID: 65534, GID: 4711, Groups: many, PID: int32(pid), Complete: true}, p)
		}
	}
}

// A socket that was closed has no owner, and the kernel says 0 for none: that
// must not be root.
func TestAClosedSocketIsNobodys(t *testing.T) {
	l := listener(t, "tcp4")
	c, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	server := accepted(t, l)
	_, err = c.Write([]byte("a request"))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	_, err = io.ReadAll(server) // its end is here
	require.NoError(t, err)
	_, err = Of(server)
	require.Error(t, err)
}

// The peer has gone without a trace, and its port is another's that listens.
func TestAnotherSocketAtThePeersPortIsNoAnswer(t *testing.T) {
	l := listener(t, "tcp4")
	c, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	server := accepted(t, l)
	at := c.LocalAddr().String()
	require.NoError(t, c.(*net.TCPConn).SetLinger(0)) // no TIME_WAIT
	require.NoError(t, c.Close())
	other, err := net.Listen("tcp4", at)
	require.NoError(t, err)
	defer other.Close()
	_, err = Of(server)
	require.Error(t, err)
}

func TestTheKernelTells(t *testing.T) {
	require.NoError(t, CanTellTCP(listener(t, "tcp4").(*net.TCPListener)))
}

func TestOtherConnectionsTellNothing(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	_, err := Of(a)
	require.EqualError(t, err, "nobody knows who is at the other end of a *net.pipe")
}

func TestContext(t *testing.T) {
	_, ok := FromContext(context.Background())
	require.False(t, ok)
	p, ok := FromContext(NewContext(context.Background(), Principal{UID: 7}))
	require.True(t, ok)
	require.EqualValues(t, 7, p.UID)
}

// Whatever comes as an answer, no user is made of less than a socket's.
func FuzzParseDiag(f *testing.F) {
	f.Add(make([]byte, 88))
	f.Fuzz(func(t *testing.T, b []byte) {
		ends := make([]byte, 36)
		m, err := parseDiag(b, 2, ends)
		if err != nil {
			require.Zero(t, m)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	c, err := net.DialTimeout("tcp4", l.Addr().String(), time.Second)
	require.NoError(b, err)
	defer c.Close()
	server, err := l.Accept()
	require.NoError(b, err)
	defer server.Close()
	for b.Loop() {
		if _, err := Of(server); err != nil {
			b.Fatal(err)
		}
	}
}
