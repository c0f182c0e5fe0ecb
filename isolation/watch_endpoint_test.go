package isolation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	for name, how := range map[string]int{"unix": unix.SHUT_RDWR, "tcp": unix.SHUT_RDWR, "unix, for reading": unix.SHUT_RD} {
		t.Run(name, func(t *testing.T) {
			network, _, _ := strings.Cut(name, ",")
			h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Listen = network }))
			b := h.acquire("a", "acme")
			require.NoError(t, h.call(h.ctx(), func() error {
				return unix.Shutdown(h.bindings[b.ProcessID].endpoint.socket, how)
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

// What a worker's framework does to the socket that all share is undone, before a
// failover in which clients queue there.
func TestBacklogAndNonblockingAreSetAgain(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Listen, m.Endpoint.Backlog = "tcp", 100 }))
	b := h.acquire("a", "acme")
	var socket int
	h.loop.Do(func() { socket = h.bindings[b.ProcessID].endpoint.socket })
	is := func() (backlog uint32, nonblocking bool) {
		info, err := unix.GetsockoptTCPInfo(socket, unix.IPPROTO_TCP, unix.TCP_INFO)
		require.NoError(t, err)
		flags, err := unix.FcntlInt(uintptr(socket), unix.F_GETFL, 0)
		require.NoError(t, err)
		return info.Sacked, flags&unix.O_NONBLOCK != 0
	}
	require.NoError(t, unix.Listen(socket, 5))
	require.NoError(t, unix.SetNonblock(socket, false))
	h.until("both are set again", func() bool {
		backlog, nonblocking := is()
		return backlog == 100 && nonblocking
	})
}

// The folder of the endpoints comes back with the next look.
func TestFolderOfEndpointsComesBack(t *testing.T) {
	h := newHouse(t, manifest("a", nil))
	b := h.acquire("a", "acme")
	path := strings.TrimPrefix(b.Address, "unix://")
	require.NoError(t, os.RemoveAll(filepath.Dir(path)))
	h.waitFor(event.Repaired, b.ProcessID)
	_, _, epoch, _ := ask(t, b.Address)
	require.Greater(t, epoch, b.Epoch)
}

// obstruct puts something in the place of an endpoint's name that cannot be
// removed as a name is, and returns what takes it away. Each is one step: the
// endpoint is looked at meanwhile.
func obstruct(t *testing.T, path string) (clear func()) {
	full := path + ".full"
	require.NoError(t, os.MkdirAll(filepath.Join(full, "of it"), 0o700))
	require.NoError(t, unix.Renameat2(unix.AT_FDCWD, full, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE))
	return func() { require.NoError(t, os.Rename(path, path+".away")) }
}

// An endpoint that cannot be made again for now keeps its socket: its number must
// not become another file's.
func TestEndpointThatCannotBeMadeAgainKeepsItsSocket(t *testing.T) {
	h := newHouse(t, manifest("a", nil))
	b := h.acquire("a", "acme")
	path := strings.TrimPrefix(b.Address, "unix://")
	var listens bool
	clear := obstruct(t, path)
	h.loop.Do(func() {
		e := h.bindings[b.ProcessID]
		h.checkEndpoint(e)
		listens = e.endpoint.listens()
	})
	require.True(t, listens)
	now, _ := h.Lookup(b.ProcessID)
	require.False(t, now.Healthy, "nobody can reach it")
	clear()
	h.waitFor(event.Repaired, b.ProcessID)
	pid, _, epoch, _ := ask(t, b.Address)
	require.Equal(t, b.Pid, pid)
	require.Equal(t, b.Epoch, epoch)
}

// An address that was shut, and cannot be opened again for now, is tried again,
// and costs the engine nothing.
func TestAddressThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	gate := backend(t)
	h := newHouseApart(t, func(*Config) {}, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.StartTimeout, m.OnFailure = patterns.Spares{}, time.Second, patterns.OnFailureRefuse
		m.Config["gate"] = gate
	}))
	b := h.acquire("a", "acme")
	require.NoError(t, os.Remove(gate))
	require.NoError(t, unix.Kill(b.Pid, unix.SIGKILL))
	h.waitFor(event.BindingFailed, b.ProcessID)
	h.refused(b)
	clear := obstruct(t, strings.TrimPrefix(b.Address, "unix://"))
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	for !strings.Contains(h.waitFor(event.BindingFailed, b.ProcessID).Message, "directory not empty") {
	} // those before tell of starts that failed
	clear()
	h.until("it is open again", func() bool {
		now, _ := h.Lookup(b.ProcessID)
		return now.Healthy
	})
	_, _, epoch, _ := ask(t, b.Address)
	require.Greater(t, epoch, b.Epoch)
	select {
	case <-h.engine.Done():
		t.Fatal("the engine was ended")
	default:
	}
}

// A worker that closes its listening socket and answers probes on is replaced
// when a client waits: nobody else would ever accept it.
func TestWorkerThatClosedItsSocketIsReplaced(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Config["deserts"] = "1" }))
	b := h.acquire("a", "acme")
	h.waitForSpare()
	pid, _, _, _ := ask(t, b.Address) // the last one that it accepts
	require.Equal(t, b.Pid, pid)
	pid, _, epoch, _ := askOther(t, b.Address, b.Pid)
	require.Equal(t, uint64(2), epoch)
	h.until("it is the binding's worker", func() bool {
		now, _ := h.Lookup(b.ProcessID)
		return now.Pid == pid
	})
	require.Contains(t, h.waitFor(event.WorkerFailed, b.ProcessID).Message, "closed its listening socket")
}
