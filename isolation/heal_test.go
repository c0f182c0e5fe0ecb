package isolation

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/patterns"
)

// backend is a file without which no worker starts.
func backend(t *testing.T) string {
	gate := filepath.Join(t.TempDir(), "backend")
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	return gate
}

// A binding that has served comes back by itself when starts succeed again.
// Meanwhile its clients wait, for as long as the manifest says, or are refused.
func TestBindingHealsWhenStartsSucceedAgain(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		for name, change := range map[string]func(*patterns.Manifest){
			"queue":         func(m *patterns.Manifest) { m.QueueTimeout = time.Hour },
			"queue is over": func(m *patterns.Manifest) { m.QueueTimeout = 50 * time.Millisecond },
			"refuse":        func(m *patterns.Manifest) { m.OnFailure = patterns.OnFailureRefuse },
		} {
			t.Run(network+" "+name, func(t *testing.T) {
				gate := backend(t)
				h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
					m.Spares, m.Listen, m.StartTimeout = patterns.Spares{}, network, time.Second
					m.Config["gate"] = gate
					change(m)
				}))
				b := h.acquire("a", "acme")
				require.NoError(t, os.Remove(gate))
				require.NoError(t, unix.Kill(b.Pid, unix.SIGKILL))
				waits, err := net.Dial(network, strings.TrimPrefix(b.Address, "unix://"))
				require.NoError(t, err)
				defer waits.Close()
				h.waitFor(event.BindingFailed, b.ProcessID)
				if name == "queue" {
					answer := make(chan uint64)
					go func() {
						_, _, epoch, _, _ := tryAsk(t, b.Address)
						answer <- epoch
					}()
					require.NoError(t, os.WriteFile(gate, nil, 0o600))
					require.Greater(t, <-answer, b.Epoch)
					return
				}
				h.refused(b)
				require.NoError(t, waits.SetReadDeadline(time.Now().Add(30*time.Second)))
				_, err = waits.Read(make([]byte, 1))
				require.Error(t, err)
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "who waited already is refused too")
				require.NoError(t, os.WriteFile(gate, nil, 0o600))
				for tries := 0; ; tries++ {
					now, ok := h.Lookup(b.ProcessID)
					require.True(t, ok)
					if now.State == Active && now.Healthy {
						require.Equal(t, b.Address, now.Address)
						require.Greater(t, now.Epoch, b.Epoch)
						break
					}
					require.Less(t, tries, 3000, "state %v, %s", now.State, now.LastError)
					h.pause()
				}
				_, _, epoch, _ := ask(t, b.Address)
				require.Greater(t, epoch, b.Epoch)
			})
		}
	}
}

// refused waits until connections to a binding are refused.
func (h *house) refused(b Binding) {
	h.t.Helper()
	network, addr := "tcp", b.Address
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		network, addr = "unix", path
	}
	for range 3000 {
		c, err := net.Dial(network, addr)
		if errors.Is(err, unix.ECONNRESET) {
			continue // its handshake was under way when the address was shut
		}
		if err != nil {
			require.ErrorIs(h.t, err, unix.ECONNREFUSED)
			return
		}
		c.Close()
		h.pause()
	}
	h.t.Fatal("not refused")
}

// pause lets something happen that nobody tells of.
func (h *house) pause() { <-time.After(10 * time.Millisecond) }

// Launches that wait for their turn to start do not fail for it.
func TestLaunchesThatWaitTheirTurnDoNotFail(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.StartTimeout = patterns.Spares{}, 2*time.Second
		m.Config["slow"] = "900ms"
	}))
	const n = 12 // 4 at a time: the last ones wait longer than a start may take
	errs := make(chan error, n)
	for i := range n {
		go func() {
			_, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: "a", Key: Key{Namespace: "t" + string(rune('a'+i))}})
			errs <- err
		}()
	}
	for range n {
		require.NoError(t, <-errs)
	}
}

func TestQuarantineHealsWhenItsTimeIsOver(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
		m.Spares = patterns.Spares{Min: 2, Max: 2}
		m.CrashBudget = patterns.CrashBudget{Max: 1, Window: time.Second}
	}))
	b := h.acquire("a", "acme")
	_, err := h.Signal(h.ctx(), b.ProcessID, unix.SIGKILL)
	require.NoError(t, err)
	h.waitFor(event.Failover, b.ProcessID)
	pid, err := h.Signal(h.ctx(), b.ProcessID, unix.SIGKILL)
	require.NoError(t, err)
	e := h.waitFor(event.BindingFailed, b.ProcessID)
	require.Contains(t, e.Message, "crash budget")
	_, _, epoch, _ := askOther(t, b.Address, pid)
	require.Greater(t, epoch, uint64(2))
	h.until("a long life gives it a successor", func() (armed bool) {
		h.loop.Do(func() { armed = h.bindings[b.ProcessID].phase.armed })
		return armed
	})
}

// The engine that is gone may have used the epoch that was armed.
func TestEpochOfALostEngineIsNotUsedAgain(t *testing.T) {
	p, outs := step(phase{state: Active, worker: 7, serving: true, epoch: 4, armed: true}, input{kind: inEngineLost})
	require.Equal(t, []output{{kind: outArm, worker: 7, epoch: 6}}, outs)
	require.Equal(t, uint64(6), p.next())
}

type mark struct{ used uint64 }

func (m *mark) Base() uint64 { return 41 }
func (m *mark) Use(epoch uint64) bool {
	m.used = max(m.used, epoch)
	return epoch < 44
}

func TestEpochsBeginAboveThoseOfAnEarlierLife(t *testing.T) {
	m := &mark{}
	h := newHouseWith(t, func(c *Config) { c.Epochs = m }, manifest("a", nil))
	b := h.acquire("a", "acme")
	require.Equal(t, uint64(42), b.Epoch)
	h.loop.Do(func() { require.Equal(t, uint64(43), m.used, "the next one is reserved") })
}

func TestForgottenEpochsRaiseTheFloor(t *testing.T) {
	e := endedEpochs{epoch: map[string]uint64{}}
	e.put("first", 7)
	for i := range maxEnded {
		e.put(strconv.Itoa(i), 1)
	}
	require.NotContains(t, e.epoch, "first")
	require.Equal(t, uint64(7), e.floor)
}

// A worker that is asked to stop by somebody else loses its clients nothing, and
// its end is no error of the binding.
func TestSuccessorOfAWorkerThatStops(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Spares = patterns.Spares{Min: 1, Max: 1} }))
	b := h.acquire("a", "acme")
	routes := h.Watch("a")
	defer routes.Close()
	h.waitFor(event.WorkerReady, "") // the spare
	require.NoError(t, unix.Kill(b.Pid, unix.SIGTERM))
	_, _, epoch, _ := askOther(t, b.Address, b.Pid)
	require.Equal(t, b.Epoch+1, epoch)
	h.waitFor(event.WorkerExited, b.ProcessID)
	now, ok := h.Lookup(b.ProcessID)
	require.True(t, ok)
	require.Empty(t, now.LastError)
	require.Zero(t, now.Errors)
	for {
		u, err := routes.Next(h.ctx())
		require.NoError(t, err)
		if len(u.Routes) == 1 && u.Routes[0].Epoch == b.Epoch+1 {
			require.Equal(t, ReasonHandover, u.Routes[0].Reason)
			require.Zero(t, u.Routes[0].Death, "nobody cuts connections for it")
			break
		}
	}
}
