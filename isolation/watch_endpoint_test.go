package isolation

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/patterns"
)

func TestTurnsOfTheEndpointWatchAreBounded(t *testing.T) {
	require.Equal(t, watchInterval, watchPause(0))
	require.Equal(t, watchInterval, watchPause(watchTurn))
	require.Equal(t, watchInterval/2, watchPause(watchTurn+1))
	require.Equal(t, watchMin, watchPause(1_000_000))
}

// A worker whose endpoint's name somebody took away, or took, goes on: the name
// comes back, and the same socket is behind it. None of this waits for a
// reconcile pass, of which there is none here.
func TestNameOfAnEndpointComesBack(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"removed":  os.Remove,
		"replaced": func(path string) error { return os.WriteFile(path+"x", nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, manifest("a", nil))
			b := h.acquire("a", "acme")
			path := strings.TrimPrefix(b.Address, "unix://")
			require.NoError(t, take(path))
			if name == "replaced" {
				require.NoError(t, os.Rename(path+"x", path))
			}
			h.waitFor(event.Repaired, b.ProcessID)
			pid, _, epoch, _ := ask(t, b.Address)
			require.Equal(t, b.Pid, pid)
			require.Equal(t, b.Epoch, epoch)
			now, _ := h.Lookup(b.ProcessID)
			require.Equal(t, 1, now.EndpointRepairs)
		})
	}
}

// A socket that was shut down is of no use to its worker either.
func TestEndpointThatWasShutDownIsMadeAgain(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Listen = network }))
			b := h.acquire("a", "acme")
			require.NoError(t, h.call(h.ctx(), func() error {
				return unix.Shutdown(h.bindings[b.ProcessID].endpoint.socket, unix.SHUT_RDWR)
			}))
			h.until("it is made again", func() bool {
				now, _ := h.Lookup(b.ProcessID)
				return now.Healthy && now.Pid != b.Pid
			})
			if network == "unix" { // at a port clients may be refused for a moment still
				_, _, epoch, _ := ask(t, b.Address)
				require.Greater(t, epoch, b.Epoch)
			}
		})
	}
}
