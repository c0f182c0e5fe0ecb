package isolation

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/internal/event"
	"understudy/internal/loop/looptest"
	"understudy/patterns"
	"understudy/pool"
	"understudy/sentinel"
	"understudy/takeover"
)

// house is a manager with its loop, its engine and its reaper, and the events
// that it told.
type house struct {
	*Manager
	t      *testing.T
	dir    string
	loop   *looptest.Loop
	engine *takeover.Client
	reaper *sentinel.Sentinel
	events chan event.Event
	// engineExe is the engine's binary, "" where it is a thread.
	engineExe string
	// lose says which word of the engine is lost; nil: none. It belongs to the
	// loop.
	lose func(takeover.Event) bool
}

func (h *house) startEngine() *takeover.Client {
	h.t.Helper()
	engine, err := takeover.Start(takeover.Options{Exe: h.engineExe}, func(e takeover.Event) {
		_ = h.loop.Post(func() {
			if h.lose == nil || !h.lose(e) {
				h.HandleEngine(e)
			}
		})
	})
	require.NoError(h.t, err)
	return engine
}

// replaceEngine kills the engine; another takes its place at once.
func (h *house) replaceEngine(engine *takeover.Client) {
	h.t.Helper()
	h.engine.Kill()
	<-h.engine.Done()
	_ = h.engine.Close() // it was killed
	h.engine = engine
	require.NoError(h.t, h.call(h.ctx(), func() error { h.Reconnect(engine); return nil }))
}

// loseOnce loses the first word of the engine of a kind, from now on.
func (h *house) loseOnce(kind takeover.EventKind) (lost *atomic.Bool) {
	h.t.Helper()
	lost = &atomic.Bool{}
	require.NoError(h.t, h.call(h.ctx(), func() error {
		h.lose = func(e takeover.Event) bool { return e.Kind == kind && lost.CompareAndSwap(false, true) }
		return nil
	}))
	return lost
}

// newHouseApart is newHouseWith and its engine in a process of its own, which
// does not restart.
func newHouseApart(t *testing.T, change func(*Config), manifests ...*patterns.Manifest) *house {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return newHouseOn(t, exe, change, manifests...)
}

func newHouse(t *testing.T, manifests ...*patterns.Manifest) *house {
	t.Helper()
	return newHouseWith(t, func(*Config) {}, manifests...)
}

func newHouseWith(t *testing.T, change func(*Config), manifests ...*patterns.Manifest) *house {
	t.Helper()
	return newHouseOn(t, "", change, manifests...)
}

// newHouseOn starts the engine from a binary, or, with "", as a thread.
func newHouseOn(t *testing.T, engineExe string, change func(*Config), manifests ...*patterns.Manifest) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "iso") // t.TempDir is too long for a socket's path
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, EndpointDir), 0o700))
	h := &house{t: t, dir: dir, events: make(chan event.Event, 4096)}
	h.reaper, err = sentinel.New(sentinel.Options{Source: sentinel.SourcePidfd})
	require.NoError(t, err)
	go func() { _ = h.reaper.Run(func() {}) }()
	t.Cleanup(func() {
		require.NoError(t, h.engine.Close())
		h.reaper.Close()
		<-h.reaper.Done()
		os.RemoveAll(dir)
	})
	h.loop = looptest.New(t)
	h.engineExe = engineExe
	h.engine = h.startEngine()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg := Config{RuntimeDir: dir, DefaultLevel: LevelNamespace,
		Event: func(e event.Event) { h.events <- e },
		Pool:  pool.Config{MaxConcurrentStarts: 4, BackoffMin: 10 * time.Millisecond, BackoffMax: time.Second, Log: log},
	}
	change(&cfg)
	h.Manager = NewManager(cfg, h.loop.Loop, h.reaper, h.engine)
	h.loop.Start(h.Stop, h.Idle)
	h.loop.Do(func() {
		for _, m := range manifests {
			h.Keeper().AddPool(pool.PoolKey(m.Name), m)
		}
	})
	return h
}

func manifest(name string, change func(m *patterns.Manifest)) *patterns.Manifest {
	exe, _ := os.Executable()
	m := &patterns.Manifest{Name: name, Dir: filepath.Dir(exe), Program: exe, Contract: "sdk", Listen: "unix", Heir: true,
		Config: map[string]string{"mark": name},
		// The race detector's way of ending takes a second otherwise.
		Environment: map[string]string{"GORACE": "atexit_sleep_ms=0"},
		Spares:      patterns.Spares{Min: 1, Max: 2}, StartTimeout: 10 * time.Second, GracePeriod: 5 * time.Second,
		Probe: patterns.Probe{Interval: time.Second, Timeout: 2 * time.Second}}
	if change != nil {
		change(m)
	}
	return m
}

func (h *house) acquire(pattern, namespace string) Binding {
	h.t.Helper()
	b, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: pattern, Key: Key{Namespace: namespace}})
	require.NoError(h.t, err)
	return b
}

func (h *house) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	h.t.Cleanup(cancel)
	return ctx
}

// waitFor waits for an event.
func (h *house) waitFor(kind event.Kind, processID string) event.Event {
	h.t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case e := <-h.events:
			if e.Kind == kind && (processID == "" || e.ProcessID == processID) {
				return e
			}
		case <-late:
			h.t.Fatalf("no event %s for %q", kind, processID)
		}
	}
}

// waitForSpare waits until the first pattern has a standby.
func (h *house) waitForSpare() {
	h.t.Helper()
	for h.Pools()[0].Standby == 0 {
		h.waitFor(event.WorkerReady, "")
	}
}

// ask connects to a binding and returns what its worker says of itself.
func ask(t *testing.T, address string) (pid int, processID string, epoch uint64, mark string) {
	t.Helper()
	pid, processID, epoch, mark, err := tryAsk(t, address)
	require.NoError(t, err)
	return pid, processID, epoch, mark
}

// askOther asks until another worker than pid answers. A worker that is dying
// may take a connection in its last microseconds; that one is lost, but never
// refused.
func askOther(t *testing.T, address string, dying int) (pid int, processID string, epoch uint64, mark string) {
	t.Helper()
	for {
		pid, processID, epoch, mark, err := tryAsk(t, address)
		if err == nil && pid != dying {
			return pid, processID, epoch, mark
		}
		require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "nobody answers")
	}
}

func tryAsk(t *testing.T, address string) (pid int, processID string, epoch uint64, mark string, err error) {
	t.Helper()
	network, addr := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, addr = "unix", path
	}
	c, err := net.Dial(network, addr)
	require.NoError(t, err, "a connection was refused")
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, &pid, &processID, &epoch, &mark)
	}
	return pid, processID, epoch, mark, err
}

// engineKnows waits until the engine has taken every command that was sent.
func (h *house) engineKnows() {
	h.t.Helper()
	pong := make(chan struct{})
	require.NoError(h.t, h.call(h.ctx(), func() error {
		h.lose = func(e takeover.Event) bool {
			if e.Kind == takeover.Pong {
				h.lose = nil
				close(pong)
			}
			return false
		}
		return h.engine.Ping()
	}))
	<-pong
}
