package isolation

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/pool"
	"understudy/takeover"
)

// errRejected: the engine did not take what was said to it, again and again.
// Most often its table of descriptors is full.
var errRejected = errors.New("takeover engine does not take it")

const (
	// repeatMin and repeatMax are between two tries of a command that the engine
	// rejects: each pause is twice the one before.
	repeatMin = 10 * time.Millisecond
	repeatMax = time.Second
	// maxRepeats is how often it is said again, for some four seconds in all.
	maxRepeats = 10
	// repeatForgotten is how long after a rejection the next one counts as new.
	repeatForgotten = 10 * time.Second
)

// repeats are the commands for one worker, or for the plan of one binding, that
// the engine rejected.
type repeats struct {
	tries   int
	pending bool
	last    time.Time
}

// another notes a rejection at a time, and says when the command is to be said
// again: after pause, or never, or already.
func (r *repeats) another(now time.Time) (pause time.Duration, given bool) {
	if now.Sub(r.last) > repeatForgotten {
		r.tries = 0
	}
	r.last = now
	if r.pending {
		return 0, false
	}
	if r.tries >= maxRepeats {
		r.tries = 0
		return 0, true
	}
	pause = min(repeatMin<<r.tries, repeatMax)
	r.tries++
	r.pending = true
	return pause, false
}

// EngineTrouble counts what the takeover engines could not do at once.
type EngineTrouble struct {
	// Rejected are commands that an engine did not take: they came damaged, or
	// named what it does not know. Refused are plans whose epoch was used.
	Rejected, Refused uint64
	// Retried are activations that could not be sent for no fault of a standby.
	Retried uint64
	// GivenUp is how often a command was rejected to the end.
	GivenUp uint64
	// Hedged is how often a worker was given up because it was stuck after its
	// activation.
	Hedged uint64
}

// engineTrouble is EngineTrouble, written on the loop.
type engineTrouble struct{ rejected, refused, retried, givenUp atomic.Uint64 }

// EngineTrouble is what the engines could not do at once, since the start. It is
// for any goroutine.
func (m *Manager) EngineTrouble() EngineTrouble {
	t := &m.trouble
	return EngineTrouble{Rejected: t.rejected.Load(), Refused: t.refused.Load(), Retried: t.retried.Load(), GivenUp: t.givenUp.Load(),
		Hedged: m.hedges.done.Load()}
}

// rejected says a command again that the engine did not take.
func (m *Manager) rejected(ev takeover.Event) {
	m.trouble.rejected.Add(1)
	m.cfg.Pool.Log.Warn("takeover engine rejected a command", "command", ev.Op.String(), "id", uint64(ev.Worker), "epoch", ev.Epoch)
	switch ev.Op {
	case takeover.OpArm:
		if e := m.byID[ev.Binding]; e != nil && stillWanted(e, ev.Epoch) {
			m.again(&e.repeats, func() { m.armAgain(e, ev.Epoch) }, func() { m.planRejected(e, ev.Epoch) })
		}
	case takeover.OpWatch, takeover.OpHeir, takeover.OpOffer, takeover.OpCondemn:
		if w := m.keeper.Worker(ev.Worker); w != nil && !w.Reaped() {
			m.again(m.repeatsOf(w), func() { m.keeper.Repeat(w) }, func() { m.workerRejected(w, ev.Op) })
		}
	case takeover.OpHandover:
		// Its plan was rejected before, or has fired. A worker that stops and
		// gets no answer ends by itself, and that is a death.
		w := m.keeper.Worker(ev.Worker)
		if w == nil || m.bindings[w.ProcessID] == nil {
			return
		}
		if e := m.bindings[w.ProcessID]; e.phase.worker == w.ID && e.phase.armed {
			m.again(&e.repeats, func() {
				m.armAgain(e, e.phase.next())
				if e.phase.worker == w.ID {
					m.command(e, m.engine.Handover(w.ID))
				}
			}, func() { m.planRejected(e, e.phase.next()) })
		}
	}
}

func (m *Manager) repeatsOf(w *pool.Worker) *repeats {
	r := m.repeats[w.ID]
	if r == nil {
		r = &repeats{}
		m.repeats[w.ID] = r
	}
	return r
}

// again calls say after a pause, or giveUp when it was said often enough.
func (m *Manager) again(r *repeats, say, giveUp func()) {
	pause, given := r.another(time.Now())
	switch {
	case given:
		m.trouble.givenUp.Add(1)
		giveUp()
	case pause > 0:
		m.loop.After(pause, func() {
			r.pending = false
			say()
		})
	}
}

// stillWanted reports whether a binding is to have the plan of an epoch.
func stillWanted(e *entry, epoch uint64) bool {
	return e.phase.armed && !e.phase.unsettled && epoch == e.phase.next() && e.phase.state != Draining && e.phase.state != Gone
}

// armAgain repeats a plan, and first what it stands upon: its guard.
func (m *Manager) armAgain(e *entry, epoch uint64) {
	if !stillWanted(e, epoch) || m.bindings[e.ProcessID] != e {
		return
	}
	if w := m.keeper.Worker(e.phase.worker); w != nil {
		m.keeper.Repeat(w)
	}
	m.arm(e, output{kind: outArm, worker: e.phase.worker, epoch: epoch}, false)
}

// planRejected leaves a binding without a successor, visibly, until a reconcile
// pass has more luck.
func (m *Manager) planRejected(e *entry, epoch uint64) {
	if !stillWanted(e, epoch) || m.bindings[e.ProcessID] != e {
		return
	}
	err := fmt.Errorf("%s: next activation: %w", e.ProcessID, errRejected)
	e.failure = err
	e.Errors++
	e.LastError = err.Error()
	m.cfg.Pool.Log.Error("binding has no successor", "process_id", e.ProcessID, "epoch", epoch, "error", err)
	m.emit(e, event.Unprotected, err.Error(), map[string]string{"tries": strconv.Itoa(maxRepeats)})
	m.apply(e, input{kind: inUnarmed})
}

// workerRejected ends a standby that the engine cannot take: it would count as
// one, and never be activated. An active worker serves on; its plan says the
// rest.
func (m *Manager) workerRejected(w *pool.Worker, op takeover.Op) {
	m.cfg.Pool.Log.Error("takeover engine does not know a worker", "worker", w.Name, "pid", w.Pid, "command", op.String())
	if op != takeover.OpHeir && (w.State() == pool.Standby || w.State() == pool.Warming) {
		m.keeper.Fail(w, pool.Cause{Kind: pool.CauseLost, Err: fmt.Errorf("%v: %w", op, errRejected)})
	}
}

// retried tells of an activation that could not be sent at once.
func (m *Manager) retried(e *entry, ev takeover.Event) {
	m.trouble.retried.Add(1)
	m.emitFor(e, m.keeper.Worker(ev.Worker), ev.Epoch, event.ActivationRetried,
		fmt.Sprintf("activation cannot be sent: %v; trying again", unix.Errno(ev.Errno)), nil)
}
