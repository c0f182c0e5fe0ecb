package isolation

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/patterns"
	"understudy/pool"
	"understudy/takeover"
	"understudy/worker"
)

// TestMain lets the test binary be the pattern program too: started by the
// pool, it is a real worker that tells each connection who answers.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == takeover.Command { // an engine in a process of its own
		if err := takeover.Main(false, ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("UNDERSTUDY_CONTROL_FD") != "" {
		if err := worker.Run(context.Background(), worker.Pattern{Warm: warm, Serve: serve, Probe: probe}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// memory is what a worker has been told to fill.
var memory []byte

func warm(_ context.Context, config map[string]string) error {
	if gate := config["gate"]; gate != "" {
		if _, err := os.Stat(gate); err != nil {
			return fmt.Errorf("backend is away: %w", err)
		}
	}
	if slow, err := time.ParseDuration(config["slow"]); err == nil {
		<-time.After(slow)
	}
	if n, err := strconv.Atoi(config["memory"]); err == nil { // its end takes time
		memory = make([]byte, n)
		for i := 0; i < n; i += os.Getpagesize() {
			memory[i] = 1
		}
	}
	switch config["die"] {
	case "exit":
		fmt.Println("cannot find my model")
		os.Exit(3)
	case "error":
		return fmt.Errorf("no model")
	case "hang":
		select {}
	}
	return nil
}

// busy: this worker serves, and is slow to answer probes by that.
var busy atomic.Bool

func probe(context.Context) error {
	if slow, err := time.ParseDuration(os.Getenv("TEST_SLOW_PROBE")); err == nil && busy.Load() {
		<-time.After(slow)
	}
	return nil
}

func serve(ctx context.Context, a *worker.Assignment) error {
	busy.Store(true)
	if _, err := os.Stat(a.Config["poison"]); err == nil {
		os.Exit(1)
	}
	if delay, err := time.ParseDuration(a.Config["delay"]); err == nil {
		<-time.After(delay)
	}
	if a.Config["silent"] != "" {
		select {}
	}
	stop := context.AfterFunc(ctx, func() { a.Listener().Close() })
	defer stop()
	for {
		c, err := a.Listener().Accept()
		if err != nil {
			if linger, err := time.ParseDuration(a.Config["linger"]); err == nil { // it finishes something
				<-time.After(linger)
			}
			return nil
		}
		fmt.Fprintf(c, "%d %s %d %s\n", os.Getpid(), a.ProcessID, a.Epoch, a.Config["mark"])
		if a.Config["deserts"] == strconv.FormatUint(a.Epoch, 10) {
			a.Listener().Close()
			select {}
		}
		go func() {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}()
	}
}

func TestAnotherWorkerAnswersAtTheSameAddress(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Listen = network }))
			b := h.acquire("a", "acme")
			require.Equal(t, "ns:acme:a", b.ProcessID)
			require.Equal(t, Active, b.State)
			pid, id, epoch, _ := ask(t, b.Address)
			require.Equal(t, b.Pid, pid)
			require.Equal(t, b.ProcessID, id)
			require.Equal(t, uint64(1), epoch)
			for want := uint64(2); want <= 4; want++ {
				h.waitForSpare()
				require.NoError(t, unix.Kill(pid, unix.SIGKILL))
				next, _, epoch, _ := askOther(t, b.Address, pid)
				require.Equal(t, want, epoch)
				pid = next
				e := h.waitFor(event.Failover, b.ProcessID)
				require.NotEmpty(t, e.Facts["activate_us"])
			}
			after, ok := h.Lookup(b.ProcessID)
			require.True(t, ok)
			require.Equal(t, 3, after.Restarts)
			require.Equal(t, b.Address, after.Address)
		})
	}
}

// A blocking listening socket would hold a worker's Accept in the kernel, where
// closing the listener does not reach it; the flag is shared by all who have
// the socket.
func TestEndpointStaysNonBlocking(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Listen = network }))
		b := h.acquire("a", "acme")
		h.loop.Do(func() {
			flags, err := unix.FcntlInt(uintptr(h.bindings[b.ProcessID].endpoint.socket), unix.F_GETFL, 0)
			require.NoError(t, err)
			require.NotZero(t, flags&unix.O_NONBLOCK)
		})
	}
}

func TestConcurrentLaunchesOfOneKeyGiveOneProcess(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Spares = patterns.Spares{Min: 3, Max: 3} }))
	const n = 32
	got := make(chan Binding, n)
	for range n {
		go func() {
			b, err := h.Acquire(context.Background(), AcquireRequest{Pattern: "a", Key: Key{Namespace: "acme"}})
			if err != nil {
				b.LastError = err.Error()
			}
			got <- b
		}()
	}
	first := <-got
	require.Empty(t, first.LastError)
	for range n - 1 {
		b := <-got
		require.Empty(t, b.LastError)
		require.Equal(t, first.Pid, b.Pid)
	}
	require.Len(t, h.List(), 1)
}

func TestTwoPatternsInOneNamespaceAreTwoBindings(t *testing.T) {
	h := newHouse(t, manifest("a", nil), manifest("b", nil))
	a, b := h.acquire("a", "acme"), h.acquire("b", "acme")
	require.NotEqual(t, a.ProcessID, b.ProcessID)
	_, _, _, mark := ask(t, a.Address)
	require.Equal(t, "a", mark)
	_, _, _, mark = ask(t, b.Address)
	require.Equal(t, "b", mark)
}

func TestWithoutStandbyConnectionsWaitForAColdStart(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Spares = patterns.Spares{} }))
	b := h.acquire("a", "acme") // no spare: a cold launch
	pid, _, _, _ := ask(t, b.Address)
	require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	e := h.waitFor(event.NoStandby, b.ProcessID)
	require.Equal(t, b.ProcessID, e.ProcessID)
	_, _, epoch, _ := askOther(t, b.Address, pid)
	require.Equal(t, uint64(2), epoch)
}

func TestReleaseEndsWorkerAndAddress(t *testing.T) {
	for _, force := range []bool{false, true} {
		t.Run(fmt.Sprintf("force=%v", force), func(t *testing.T) {
			h := newHouse(t, manifest("a", nil))
			b := h.acquire("a", "acme")
			w := h.Watch("")
			defer w.Close()
			u, err := w.Next(h.ctx())
			require.NoError(t, err)
			require.True(t, u.Full)
			require.Len(t, u.Routes, 1)
			require.NoError(t, h.Release(h.ctx(), b.ProcessID, ReleaseOptions{Force: force}))
			u, err = w.Next(h.ctx())
			require.NoError(t, err)
			require.Equal(t, Gone, u.Routes[0].State)
			require.ErrorIs(t, unix.Kill(b.Pid, 0), unix.ESRCH)
			_, err = os.Stat(strings.TrimPrefix(b.Address, "unix://"))
			require.ErrorIs(t, err, os.ErrNotExist)
			_, ok := h.Lookup(b.ProcessID)
			require.False(t, ok)
			require.ErrorIs(t, h.Release(h.ctx(), b.ProcessID, ReleaseOptions{}), ErrUnknownBinding)

			again := h.acquire("a", "acme")
			require.Greater(t, again.Epoch, b.Epoch, "an epoch went back")
			require.Equal(t, b.Address, again.Address)
		})
	}
}

func TestStartThatFailsSaysWhere(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *patterns.Manifest)
		step   pool.Step
		says   []string
	}{
		"exits":       {func(m *patterns.Manifest) { m.Config["die"] = "exit" }, pool.StepHandshake, []string{"exited with code 3", "cannot find my model"}},
		"gives up":    {func(m *patterns.Manifest) { m.Config["die"] = "error" }, pool.StepHandshake, []string{"warm-up: no model", "exited with code 1"}},
		"never ready": {func(m *patterns.Manifest) { m.Config["die"] = "hang"; m.StartTimeout = 300 * time.Millisecond }, pool.StepHandshake, []string{"not ready within 300ms"}},
		"no program":  {func(m *patterns.Manifest) { m.Program = "/does/not/exist" }, pool.StepSpawn, []string{"/does/not/exist", "no such file"}},
		"speaks no protocol": {func(m *patterns.Manifest) {
			m.Program, m.Args = "/bin/sh", []string{"-c", "echo hello >&3; sleep 30"}
			m.GracePeriod = 0
		},
			pool.StepHandshake, []string{"malformed"}},
		"floods stdout": {func(m *patterns.Manifest) {
			m.Program, m.Args = "/bin/sh", []string{"-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 4"}
		}, pool.StepHandshake, []string{"exited with code 4", "line 19999"}},
	} {
		t.Run(name, func(t *testing.T) {
			good := manifest("good", nil)
			h := newHouse(t, manifest("bad", c.change), good)
			_, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: "bad", Key: Key{Namespace: "acme"}})
			var start *pool.StartError
			require.ErrorAs(t, err, &start)
			require.Equal(t, c.step, start.Step)
			for _, s := range c.says {
				require.ErrorContains(t, err, s)
			}
			require.NotContains(t, err.Error(), "\n", "one line")
			b := h.acquire("good", "acme") // nothing else is disturbed
			require.True(t, b.State == Active)
		})
	}
}

func TestStandbyThatNeverServesIsReplaced(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.StartTimeout = time.Second }))
	_, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: "a", Key: Key{Namespace: "acme"}, Config: map[string]string{"silent": "1"}})
	var start *pool.StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, pool.StepActivate, start.Step)
	require.ErrorContains(t, err, "ns:acme:a")
}

func TestCrashBudgetQuarantinesOneKeyOnly(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.CrashBudget = patterns.CrashBudget{Max: 3, Window: time.Minute} }))
	other := h.acquire("a", "globex")
	b := h.acquire("a", "acme")
	for i := range 4 {
		pid, err := h.Signal(h.ctx(), b.ProcessID, unix.SIGKILL)
		require.NoError(t, err)
		if i < 3 {
			h.waitFor(event.Failover, b.ProcessID)
			next, ok := h.Lookup(b.ProcessID)
			require.True(t, ok)
			require.NotEqual(t, pid, next.Pid)
		}
	}
	e := h.waitFor(event.BindingFailed, b.ProcessID)
	require.Contains(t, e.Message, "crash budget")
	_, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: "a", Key: Key{Namespace: "acme"}})
	require.ErrorIs(t, err, ErrQuarantined)
	pid, _, epoch, _ := ask(t, other.Address)
	require.Equal(t, other.Pid, pid)
	require.Equal(t, uint64(1), epoch)
}

// The budget of a binding is spent by deaths that come soon one after the other,
// and a worker that outlives their window has a successor again, even when no
// pass has given it one.
func TestCrashBudgetComesBack(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.CrashBudget = patterns.CrashBudget{Max: 2, Window: 2 * time.Second} }))
	b := h.acquire("a", "acme")
	plan := func() (armed, spent bool) {
		require.NoError(t, h.call(h.ctx(), func() error {
			e := h.bindings[b.ProcessID]
			armed, spent = e.phase.armed, h.spent(e)
			return nil
		}))
		return armed, spent
	}
	deaths := 0
	kill := func() {
		_, err := h.Signal(h.ctx(), b.ProcessID, unix.SIGKILL)
		require.NoError(t, err)
		h.waitFor(event.Failover, b.ProcessID)
		deaths++
	}
	for spent := false; !spent; _, spent = plan() { // two, unless they come too far apart
		require.Less(t, deaths, 20, "the budget is never spent")
		kill()
	}
	require.GreaterOrEqual(t, deaths, 2)
	armed, _ := plan()
	require.False(t, armed, "a plan although the budget is spent")
	h.until("the window is over", func() bool { _, spent := plan(); return !spent })
	kill()
	next, ok := h.Lookup(b.ProcessID)
	require.True(t, ok)
	require.Equal(t, Active, next.State)
	pid, _, epoch, _ := ask(t, b.Address)
	require.Equal(t, next.Pid, pid)
	require.Equal(t, uint64(1+deaths), epoch)
}

func TestBadRequestsNameTheField(t *testing.T) {
	h := newHouse(t, manifest("a", nil))
	for name, r := range map[string]AcquireRequest{
		"pattern_name": {},
		"namespace":    {Pattern: "a", Key: Key{Level: LevelNamespace}},
		"session":      {Pattern: "a", Key: Key{Level: LevelSession, Namespace: "acme"}},
		"config":       {Pattern: "a", Key: Key{Namespace: "acme"}, Config: map[string]string{"k": strings.Repeat("x", maxConfig)}},
	} {
		_, err := h.Acquire(h.ctx(), r)
		var field *FieldError
		require.ErrorAs(t, err, &field, name)
		require.Equal(t, name, field.Field)
	}
	_, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: "nobody", Key: Key{Namespace: "acme"}})
	require.ErrorIs(t, err, ErrUnknownPattern)
	require.Empty(t, h.List())
}
