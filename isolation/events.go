package isolation

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/internal/monotime"
	"understudy/internal/pace"
	"understudy/pool"
	"understudy/sentinel"
	"understudy/takeover"
)

var (
	errLost  = errors.New("control socket was broken at activation")
	errEnded = errors.New("activated for a binding that has ended")
	errLiar  = errors.New("claims to serve what it was not activated for")
	errTwice = errors.New("activated for a binding that had its worker for that epoch already")
)

// activated follows the engine: another worker serves the binding now.
func (m *Manager) activated(e *entry, ev takeover.Event) {
	if ev.Epoch <= e.phase.epoch {
		// Said again by a reconcile pass; or by an engine that did not know of
		// its predecessor's last activation.
		if w := m.keeper.Worker(ev.Worker); w != nil && ev.Worker != e.phase.worker && w.ProcessID == "" {
			m.keeper.Fail(w, pool.Cause{Kind: pool.CauseConflict, Err: errTwice})
		}
		return
	}
	waited := e.phase.waiting
	switch { // where it waited, this was done when it began to
	case ev.Dead == 0 || waited:
	case ev.Handover:
		m.lived(e, ev.Dead)
	default:
		m.died(e, ev)
	}
	defer m.handedOver(e, ev)
	w := m.keeper.Activated(ev.Worker, e.ProcessID, ev.Epoch)
	e.Activated, e.sent = time.Now(), ev.Sent
	failover := e.phase.everServed
	if failover {
		e.Restarts++
	}
	m.apply(e, input{kind: inActivated, worker: ev.Worker, epoch: ev.Epoch, spent: m.spent(e), handover: ev.Handover})
	if failover {
		m.loop.After(pace.Breather, func() {
			m.segmentsTaken(e, w, ev.Epoch)
			m.emitFor(e, w, ev.Epoch, event.Failover, fmt.Sprintf("%s is active at epoch %d", nameOf(w), ev.Epoch), failoverFacts(ev, waited))
		})
	} else {
		m.segmentsTaken(e, w, ev.Epoch)
	}
	if e.early[ev.Worker] == ev.Epoch {
		m.serving(e, input{kind: inServing, worker: ev.Worker, epoch: ev.Epoch})
	}
	clear(e.early)
	if w == nil { // activated and dead before we heard of it
		m.dead(e, inExited, ev.Worker)
	}
}

func nameOf(w *pool.Worker) string {
	if w == nil {
		return "a worker that has ended already"
	}
	return w.Name
}

// failoverFacts are the times of a failover in microseconds. Without a kernel
// time of death they count from the notice.
func failoverFacts(ev takeover.Event, cold bool) map[string]string {
	from := ev.At
	if from == 0 {
		from = ev.Seen
	}
	us := func(ns int64) string { return strconv.FormatFloat(float64(ns)/1e3, 'f', 1, 64) }
	return map[string]string{
		"cause":       causeOf(ev),
		"source":      sentinel.Source(ev.Source).String(),
		"notice_us":   us(ev.Seen - from),
		"activate_us": us(ev.Sent - from),
		"cold":        strconv.FormatBool(cold),
	}
}

func causeOf(ev takeover.Event) string {
	if ev.Signal > 0 {
		return unix.SignalName(unix.Signal(ev.Signal))
	}
	return "exit"
}

// mayServe reports whether a worker can have been activated for a binding at an
// epoch: its word counts for no other binding.
func mayServe(e *entry, pattern, processID string, epoch uint64) bool {
	return pattern == e.Pattern && (processID == "" || processID == e.ProcessID) && epoch > 0 && epoch <= e.phase.next()
}

func (m *Manager) workerServing(w *pool.Worker, processID string, epoch uint64) {
	e := m.bindings[processID]
	if e == nil {
		if _, unsure := m.unsure[w.ID]; unsure {
			m.keeper.Fail(w, pool.Cause{Kind: pool.CauseConflict, Err: errEnded})
		}
		return
	}
	if !mayServe(e, w.Pattern(), w.ProcessID, epoch) {
		m.keeper.Fail(w, pool.Cause{Kind: pool.CauseLie, Err: fmt.Errorf("%w: %s at epoch %d", errLiar, e.ProcessID, epoch)})
		return
	}
	_, unsure := m.unsure[w.ID]
	if unsure && epoch > e.phase.epoch {
		// An engine that is gone had activated it.
		m.activated(e, takeover.Event{Worker: w.ID, Binding: e.id, Dead: e.phase.worker, Epoch: epoch, Seen: monotime.Now(), Sent: monotime.Now()})
	}
	in := input{kind: inServing, worker: w.ID, epoch: epoch}
	if epoch > e.phase.epoch {
		e.early[w.ID] = epoch // the worker was quicker than the engine's event
	} else {
		m.serving(e, in)
	}
	if unsure && e.phase.worker != w.ID {
		m.keeper.Fail(w, pool.Cause{Kind: pool.CauseConflict, Err: errTwice})
	}
	m.settle(w)
}

func (m *Manager) serving(e *entry, in input) {
	first, was := !e.phase.everServed, e.phase.serving
	m.apply(e, in)
	if e.phase.serving && !was {
		m.served(e)
	}
	if first && e.phase.everServed {
		m.emit(e, event.Launched, fmt.Sprintf("active at epoch %d", in.epoch), nil)
	}
}

func (m *Manager) workerReady(w *pool.Worker) {
	m.settle(w)
	m.openOldest(w.Pattern())
}

func (m *Manager) workerExited(w *pool.Worker, cause pool.Cause) {
	if e := m.bindings[w.ProcessID]; e != nil {
		if e.phase.state != Draining && w.State() != pool.Terminated { // it was not asked to
			e.LastError = fmt.Sprintf("worker %s (pid %d): %s", w.Name, w.Pid, cause)
		}
		m.dead(e, inExited, w.ID)
	}
	delete(m.repeats, w.ID)
	m.segmentsLeft(w)
	m.settle(w)
}

// Stop ends every binding and every worker, each within its grace period.
func (m *Manager) Stop() {
	m.closing = true
	for _, e := range m.bindings {
		m.apply(e, input{kind: inRelease})
	}
	m.keeper.Stop()
	m.routes.close()
}

// Remaining says whom a stop still waits for.
func (m *Manager) Remaining() (who []string) {
	for id := range m.bindings {
		who = append(who, "binding "+id)
	}
	slices.Sort(who)
	return append(who, m.keeper.Remaining()...)
}

// Idle reports whether nothing is left to wait for after Stop.
func (m *Manager) Idle() bool { return len(m.bindings) == 0 && m.keeper.Idle() }
