package isolation

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/patterns"
	"understudy/takeover"
)

// asker asks one binding without end, one connection after the other, and notes
// who answers at which epoch.
type asker struct {
	mu      sync.Mutex
	newest  uint64
	answers map[uint64]int // pid by epoch
	wrong   []string
}

func (a *asker) run(path string, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			continue
		}
		var pid int
		var id string
		var epoch uint64
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if err != nil {
			continue // its worker died
		}
		if _, err := fmt.Sscan(line, &pid, &id, &epoch); err != nil {
			continue
		}
		a.note(pid, epoch)
	}
}

func (a *asker) note(pid int, epoch uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if other, ok := a.answers[epoch]; ok && other != pid && len(a.wrong) < 10 {
		a.wrong = append(a.wrong, fmt.Sprintf("%d and %d answer at epoch %d", other, pid, epoch))
	}
	if epoch < a.newest && len(a.wrong) < 10 {
		a.wrong = append(a.wrong, fmt.Sprintf("%d answers at epoch %d after %d", pid, epoch, a.newest))
	}
	a.newest = max(a.newest, epoch)
	a.answers[epoch] = pid
}

// The engine may die between the activation of a standby and its word of that,
// while the dead worker looks alive and the new one is slow to say whom it
// serves: no second one is activated beside it.
func TestEngineThatDiesAmidAFailoverMakesNoSecondWorker(t *testing.T) {
	h := newHouseApart(t, func(*Config) {}, manifest("a", func(m *patterns.Manifest) {
		m.Spares, m.Heir = patterns.Spares{Min: 2, Max: 2}, false
		m.Environment["TEST_SLOW_PROBE"] = "300ms"
		m.Config["memory"] = "200000000"
	}))
	b := h.acquire("a", "acme")
	a := &asker{answers: map[uint64]int{}}
	over := make(chan struct{})
	var clients sync.WaitGroup
	clients.Go(func() { a.run(strings.TrimPrefix(b.Address, "unix://"), over) })
	for round := range 10 {
		h.until("two spares", func() bool { return h.standbys() == 2 })
		now, _ := h.Lookup(b.ProcessID)
		next := h.startEngine()
		lost := h.loseOnce(takeover.Activated)
		if round%2 != 0 {
			lost.Store(true)
		}
		require.NoError(t, unix.Kill(now.Pid, unix.SIGKILL))
		if round%2 == 0 { // the engine dies before it says what it has done
			h.until("its last word is lost", lost.Load)
		} else {
			<-time.After(time.Duration(round%4) * 400 * time.Microsecond)
		}
		h.replaceEngine(next)
		h.until("another answers", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.newest > now.Epoch
		})
	}
	h.until("two spares", func() bool { return h.standbys() == 2 })
	close(over)
	clients.Wait()
	require.Empty(t, a.wrong)
}

// What the engine says once and is lost is asked again, long before a start
// times out and without a reconcile pass.
func TestLostWordOfTheEngineIsAskedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		kind   takeover.EventKind
		spares int
	}{
		"that a plan waits":           {takeover.Waiting, 0},
		"that a worker was activated": {takeover.Activated, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, manifest("a", func(m *patterns.Manifest) {
				m.Spares, m.StartTimeout = patterns.Spares{Min: c.spares, Max: c.spares}, time.Minute
			}))
			b := h.acquire("a", "acme")
			h.until("the spares", func() bool { return h.standbys() == c.spares })
			lost := h.loseOnce(c.kind)
			require.NoError(t, unix.Kill(b.Pid, unix.SIGKILL))
			e := h.waitFor(event.Failover, b.ProcessID)
			require.Equal(t, b.Epoch+1, e.Epoch)
			require.True(t, lost.Load())
			h.until("it is active", func() bool {
				now, _ := h.Lookup(b.ProcessID)
				return now.State == Active && now.Healthy && now.Pid != b.Pid
			})
		})
	}
	t.Run("that a launch waits", func(t *testing.T) {
		h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.Spares, m.StartTimeout = patterns.Spares{}, time.Minute }))
		lost := h.loseOnce(takeover.Waiting)
		h.acquire("a", "acme")
		require.True(t, lost.Load())
	})
}

// The engine refuses an epoch that it has used. If nobody who was activated for
// it is left, the next epoch is used.
func TestRefusedEpochIsBurnt(t *testing.T) {
	h := newHouse(t, manifest("a", func(m *patterns.Manifest) { m.StartTimeout = time.Minute }))
	b := h.acquire("a", "acme")
	h.until("a spare", func() bool { return h.standbys() == 1 })
	// Its word of the activation is lost, and the one that was activated dies.
	second := 0
	require.NoError(t, h.call(h.ctx(), func() error {
		h.lose = func(e takeover.Event) bool {
			if e.Kind != takeover.Activated || e.Epoch != 2 {
				return false
			}
			if w := h.Keeper().Worker(e.Worker); w != nil {
				second = w.Pid
				_ = unix.Kill(w.Pid, unix.SIGKILL)
			}
			return true
		}
		return nil
	}))
	require.NoError(t, unix.Kill(b.Pid, unix.SIGKILL))
	h.until("a third answers", func() bool {
		now, _ := h.Lookup(b.ProcessID)
		return now.Healthy && now.Epoch > 2 && now.Pid != second
	})
	pid, _, epoch, _ := ask(t, b.Address)
	require.NotEqual(t, second, pid)
	require.Greater(t, epoch, uint64(2))
	require.NotZero(t, h.EngineTrouble().Refused)
}
