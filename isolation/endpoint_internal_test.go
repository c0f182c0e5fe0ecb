package isolation

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

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
