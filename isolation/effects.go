package isolation

import (
	"fmt"
	"time"

	"understudy/internal/control"
	"understudy/internal/event"
	"understudy/pool"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/sentinel"
	"understudy/takeover"
)

// deadlineSlack is how much longer a binding waits than a start may take: what
// the pool has to say of a start that failed is the better error.
const deadlineSlack = 500 * time.Millisecond

// apply takes one step of a binding and does what follows from it.
func (m *Manager) apply(e *entry, in input) {
	wasWaiting := e.phase.waiting
	var outs []output
	e.phase, outs = step(e.phase, in)
	for _, o := range outs {
		m.do(e, o)
	}
	if e.phase.waiting != wasWaiting {
		e.waiting = time.Now()
		m.keeper.Demand(e.pool(), m.waitingFor(e.Pattern))
	}
}

func (m *Manager) waitingFor(pattern string) (n int) {
	for _, e := range m.bindings {
		if e.Pattern == pattern && e.phase.waiting {
			n++
		}
	}
	return n
}

func (m *Manager) do(e *entry, o output) {
	switch o.kind {
	case outArm:
		if o.late {
			m.armLater(e, o)
		} else {
			m.arm(e, o, false)
		}
	case outDisarm:
		m.command(e, m.engine.Disarm(e.id))
	case outPublish:
		m.publish(e, o.reason)
	case outDeadline:
		m.startDeadline(e)
	case outRelax:
		if e.deadline != nil {
			e.deadline.Stop()
		}
	case outFail:
		if w := m.keeper.Worker(o.worker); w != nil {
			silent := &pool.StartError{Pattern: e.Pattern, Worker: w.Name, Step: pool.StepActivate,
				Err: fmt.Errorf("does not serve %s within %v", e.ProcessID, e.manifest.StartTimeout)}
			e.failure = silent
			m.keeper.Fail(w, pool.Cause{Kind: pool.CauseNotServing, Err: silent.Err})
		}
	case outDrain:
		if w := m.keeper.Worker(o.worker); w != nil {
			m.keeper.End(w, e.grace, e.phase.force)
		}
	case outReady:
		m.resolve(e, nil)
	case outBroken:
		m.broken(e)
	case outGone:
		m.gone(e)
	}
}

// command notes that the engine did not take a command; when it is replaced,
// the new one is told everything.
func (m *Manager) command(e *entry, err error) {
	if err != nil {
		m.cfg.Pool.Log.Warn("takeover engine is gone", "process_id", e.ProcessID, "error", err)
	}
}

// breather is how long after a failover what can wait does: the first answers
// take one to two milliseconds.
const breather = 2 * time.Millisecond

// armLater arms after a breather. A worker that dies within it has its
// successor activated at its end: the engine fires a plan at once if its guard
// is dead.
func (m *Manager) armLater(e *entry, o output) {
	e.arming = true
	m.after(breather, func() {
		if e.arming && e.phase.armed && o.epoch == e.phase.epoch+1 {
			m.arm(e, o, false)
		}
	})
}

func (m *Manager) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() { _ = m.post(f) })
}

// arm prepares the next activation down to the last byte.
func (m *Manager) arm(e *entry, o output, again bool) {
	e.arming = false
	segments, fds, err := m.prepareSegments(e, o.epoch)
	if err != nil {
		m.unarmed(e, o, err)
		return
	}
	payload, err := control.Encode(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Activate{Activate: &understudyv1.Activate{
		ProcessId: e.ProcessID,
		Pattern:   e.Pattern,
		Epoch:     o.epoch,
		Key: &understudyv1.Key{Region: e.Key.Region, Namespace: e.Key.Namespace,
			Session: e.Key.Session, Level: e.Key.Level.String()},
		Config:    e.Config,
		Listeners: []*understudyv1.Listener{{Name: "main", Network: e.endpoint.network, Address: e.endpoint.address}},
		Segments:  segments,
		Takeover:  o.worker != 0,
	}}})
	if err != nil {
		m.unarmed(e, o, fmt.Errorf("%s: activation: %w", e.ProcessID, err))
		return
	}
	guard := m.keeper.Worker(o.worker)
	m.command(e, m.engine.Arm(takeover.Plan{Binding: e.id, Guard: o.worker, Epoch: o.epoch,
		GuardDead: o.worker != 0 && (guard == nil || guard.Reaped()),
		Pool:      m.keeper.PoolOf(e.pool()), Payload: payload, Descriptors: append([]int{e.endpoint.socket}, fds...)}, again))
}

func (m *Manager) publish(e *entry, reason Reason) {
	r := Route{ProcessID: e.ProcessID, Pattern: e.Pattern, Key: e.Key, Address: e.Address,
		Epoch: e.phase.epoch, State: e.phase.state, Reason: reason, Published: sentinel.Now()}
	if reason == ReasonFailover {
		r.Death = e.death
	}
	switch {
	case r.State == Draining:
		r.State = Gone // for a proxy it is over
	case r.State == Starting && e.phase.worker != 0:
		r.State = Active // whoever connects now is served as soon as it accepts
	}
	if w := m.keeper.Worker(e.phase.worker); w != nil {
		r.Pid = w.Pid
	}
	m.routes.publish(r)
}

func (m *Manager) startDeadline(e *entry) {
	if e.deadline != nil {
		e.deadline.Stop()
	}
	var t *time.Timer
	t = time.AfterFunc(e.manifest.StartTimeout+deadlineSlack, func() {
		_ = m.post(func() {
			if e.deadline == t {
				m.apply(e, input{kind: inDeadline})
			}
		})
	})
	e.deadline = t
}

func (m *Manager) resolve(e *entry, err error) {
	for _, done := range e.launched {
		done <- err
	}
	e.launched = nil
}

// broken closes the endpoint, so that clients are refused instead of hanging,
// and tells those who wait why.
func (m *Manager) broken(e *entry) {
	if e.failure == nil {
		e.failure = fmt.Errorf("%s: no worker within %v", e.ProcessID, e.manifest.StartTimeout)
		if last := m.keeper.LastFailure(e.pool()); last != nil {
			e.failure = fmt.Errorf("%w; the last start failed: %w", e.failure, last)
		}
	}
	e.Errors++
	e.LastError = e.failure.Error()
	e.failed = time.Now()
	e.endpoint.close()
	m.resolve(e, e.failure)
	m.emit(e, event.BindingFailed, e.LastError, nil)
}

// failedKept is how long a failed binding can be looked at.
const failedKept = 15 * time.Minute

// forgetFailed ends a failed binding that nobody has launched again, so that
// launches of ever new keys leave nothing behind. One whose segments hold
// somebody's work stays.
func (m *Manager) forgetFailed(e *entry) {
	if !m.holdsWork(e) && time.Since(e.failed) > failedKept && time.Now().After(e.until) {
		m.apply(e, input{kind: inRelease})
	}
}

func (m *Manager) gone(e *entry) {
	if e.deadline != nil {
		e.deadline.Stop()
	}
	e.endpoint.close()
	m.segmentsEnded(e)
	delete(m.bindings, e.ProcessID)
	delete(m.byID, e.id)
	m.ended.put(e.ProcessID, e.phase.epoch)
	m.resolve(e, fmt.Errorf("%s: %w", e.ProcessID, ErrTerminated))
	m.emit(e, event.Terminated, "binding ended", nil)
	for _, done := range e.released {
		done <- struct{}{}
	}
}

func (m *Manager) emit(e *entry, kind event.Kind, message string, facts map[string]string) {
	m.emitFor(e, m.keeper.Worker(e.phase.worker), e.phase.epoch, kind, message, facts)
}

// emitFor tells of what a worker, which may be nil, did at an epoch.
func (m *Manager) emitFor(e *entry, w *pool.Worker, epoch uint64, kind event.Kind, message string, facts map[string]string) {
	ev := event.Event{Time: time.Now(), Kind: kind, Pattern: e.Pattern, ProcessID: e.ProcessID,
		Epoch: epoch, Message: message, Facts: facts}
	if w != nil {
		ev.Worker, ev.Pid = w.Name, w.Pid
	}
	m.cfg.Event(ev)
}

// HandleEngine takes an event of the takeover engine, on the loop.
func (m *Manager) HandleEngine(ev takeover.Event) {
	switch ev.Kind {
	case takeover.Withdrawn:
		m.keeper.Withdrawn(ev.Worker, ev.OK)
	case takeover.Lost:
		if w := m.keeper.Worker(ev.Worker); w != nil {
			m.keeper.Fail(w, pool.Cause{Kind: pool.CauseLost, Err: errLost})
		}
	case takeover.Notice:
		if w := m.keeper.Worker(ev.Worker); w != nil {
			m.keeper.Noticed(w)
			if e := m.bindings[w.ProcessID]; e != nil {
				m.dead(e, inDoomed, ev.Worker)
			}
			if ev.Dumper != 0 {
				m.keeper.Dumping(w, int(ev.Dumper))
			}
		}
	default:
		e := m.byID[ev.Binding]
		if e != nil {
			m.handleBinding(e, ev)
		} else if w := m.keeper.Worker(ev.Worker); ev.Kind == takeover.Activated && w != nil {
			m.keeper.Fail(w, pool.Cause{Kind: pool.CauseConflict, Err: errEnded})
		}
	}
}

// Reassert repeats to the engine what it should know; each thing that it did
// not know comes back as Repaired. It returns the deaths that went unreported.
func (m *Manager) Reassert() (missed int) {
	missed = m.keeper.Reassert()
	for _, e := range m.bindings {
		m.rearmLate(e)
		switch {
		case e.phase.disarming: // the engine's answer may have been lost
			m.do(e, output{kind: outDisarm})
		case e.phase.state == Failed:
			m.forgetFailed(e)
		}
		if e.phase.armed && e.phase.worker != 0 && !e.arming {
			m.arm(e, output{kind: outArm, worker: e.phase.worker, epoch: e.phase.epoch + 1}, true)
		}
	}
	return missed
}

func (m *Manager) handleBinding(e *entry, ev takeover.Event) {
	switch ev.Kind {
	case takeover.Activated:
		m.activated(e, ev)
	case takeover.Waiting:
		if ev.Dead != 0 {
			m.died(e, ev)
			m.emit(e, event.NoStandby, "no standby is left; starting one", nil)
		}
		m.apply(e, input{kind: inWaiting})
	case takeover.Disarmed:
		m.apply(e, input{kind: inDisarmed})
	case takeover.Refused:
		m.cfg.Pool.Log.Error("takeover engine refused an epoch", "process_id", e.ProcessID, "epoch", ev.Epoch)
	}
}
