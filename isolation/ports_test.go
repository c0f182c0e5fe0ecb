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
