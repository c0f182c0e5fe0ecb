package isolation

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/patterns"
)

var patternsEndpoint = patterns.Endpoint{Backlog: 16}

// makeDirs returns a runtime directory with a short path.
func makeDirs(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ep")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Mkdir(filepath.Join(dir, EndpointDir), 0o700))
	return dir
}

// openAt binds an address as another program would.
func openAt(address string) (int, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return -1, err
	}
	return boundTCP(at, false)
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
