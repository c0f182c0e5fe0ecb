package isolation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestFreedPortsRestAndComeBackToTheirOwn(t *testing.T) {
	e, err := openEndpoint("tcp", "", "ns:a:x", "", patternsEndpoint, nil)
	require.NoError(t, err)
	address := e.address
	var rest restingPorts
	rest.put(restingPort{processID: "ns:a:x", address: address, socket: e.release(), since: time.Now()})

	_, err = openAt(address)
	require.ErrorIs(t, err, unix.EADDRINUSE, "it is nobody else's")
	require.Empty(t, rest.take("ns:b:x"))
	require.Equal(t, address, rest.take("ns:a:x"))
	again, err := openEndpoint("tcp", "", "ns:a:x", address, patternsEndpoint, nil)
	require.NoError(t, err)
	require.Equal(t, address, again.address)
	again.close()
}

func TestRestingPortsAreBounded(t *testing.T) {
	var rest restingPorts
	for range maxResting + 10 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		rest.put(restingPort{socket: fd, since: time.Now()})
	}
	require.Len(t, rest, maxResting)
	for _, p := range rest {
		unix.Close(p.socket)
	}
}

func TestSessionScope(t *testing.T) {
	k := Key{Level: LevelSession, Namespace: "acme", Session: "42"}
	require.Equal(t, "session:42:x", k.scoped("x", "session"))
	require.Equal(t, "session:acme/42:x", k.scoped("x", "namespace_session"))
}

func TestBrokenEndpointsAreSeen(t *testing.T) {
	for name, harm := range map[string]func(e *endpoint){
		"the socket is shut down": func(e *endpoint) { _ = unix.Shutdown(e.socket, unix.SHUT_RDWR) },
		"the path is gone":        func(e *endpoint) { _ = unix.Unlink(e.address) },
	} {
		e, err := openEndpoint("unix", makeDirs(t), "ns:a:x", "", patternsEndpoint, nil)
		require.NoError(t, err)
		require.True(t, e.reachable(), name)
		harm(e)
		require.False(t, e.reachable(), name)
		unix.Close(e.socket)
		require.NoError(t, e.bind())
		require.NoError(t, e.listen())
		require.True(t, e.reachable(), name)
		e.close()
	}
}
