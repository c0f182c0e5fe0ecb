package isolation

import (
	"errors"
	"fmt"
	"time"

	"understudy/internal/event"
	"understudy/internal/monotime"
	"understudy/internal/pace"
	"understudy/patterns"
	"understudy/pool"
	"understudy/takeover"
)

// deadlineSlack is how much longer a binding waits than a start may take: what
// the pool has to say of a start that failed is the better error.
const deadlineSlack = 500 * time.Millisecond

// apply takes one step of a binding and does what follows from it.
func (m *Manager) apply(e *entry, in input) {
	var outs []output
	e.phase, outs = step(e.phase, in)
	for _, o := range outs {
		m.do(e, o)
	}
	m.queue(e)
	m.wait(e)
}

// queue starts the time that clients may wait for a worker, and stops it when
// there is one.
func (m *Manager) queue(e *entry) {
	p := &e.phase
	lacking := p.everServed && p.worker == 0 && (p.waiting || p.held) && !p.shut
	switch {
	case !lacking && e.queued != nil && (p.worker != 0 || p.shut || p.state == Draining || p.state == Gone):
		e.queued.Stop()
		e.queued = nil
	case lacking && e.queued == nil && e.manifest.QueueTimeout > 0:
		e.queued = m.loop.After(e.manifest.QueueTimeout, func() {
			e.queued = nil
			m.apply(e, input{kind: inRefuse})
			m.queue(e) // it was about to be activated: the next time counts anew
		})
	}
}

func (m *Manager) do(e *entry, o output) {
	switch o.kind {
	case outArm:
		if o.late && m.cfg.Pool.Pace.On(pace.ReportDelay) {
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
		e.deadline.Stop()
	case outFail:
		if w := m.keeper.Worker(o.worker); w != nil {
			silent := &pool.StartError{Pattern: e.Pattern, Worker: w.Name, Step: pool.StepActivate,
				Err: fmt.Errorf("does not serve %s within %v", e.ProcessID, e.manifest.StartTimeout)}
			e.failure = silent
			m.keeper.Fail(w, pool.Cause{Kind: pool.CauseNotServing, Err: silent.Err})
		}
	case outLeave:
		e.endpoint.leave()
	case outDrain:
		if w := m.keeper.Worker(o.worker); w != nil {
			m.keeper.End(w, e.grace, e.phase.force)
		}
	case outReady:
		m.resolve(e, nil)
	case outBroken:
		m.broken(e)
	case outFailing:
		m.failing(e)
	case outHold:
		m.hold(e)
	case outWatch:
		m.hedgeLater(e, o.worker)
	case outStuck:
		m.stuck(e, o.worker)
	case outProve:
		m.prove(e, o.worker)
	case outLoop:
		m.looping(e)
	case outShut:
		m.shut(e)
	case outOpen:
		m.open(e)
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

// armLater arms after pace.Breather. A worker that dies within it has its
// successor activated at its end: the engine fires a plan at once if its guard
// is dead.
func (m *Manager) armLater(e *entry, o output) {
	e.arming = true
	m.loop.After(pace.Breather, func() {
		if e.arming && e.phase.armed && o.epoch == e.phase.next() {
			m.arm(e, o, false)
		}
	})
}

// arm prepares the next activation down to the last byte.
func (m *Manager) arm(e *entry, o output, again bool) {
	e.arming = false
	if e.phase.unsettled {
		return
	}
	defer m.expectAnswer(e)
	if m.cfg.Epochs != nil && !m.cfg.Epochs.Use(o.epoch) {
		m.unarmed(e, o, errNoEpochs)
		return
	}
	// A socket that somebody shut down goes into the plan: checkEndpoint renews it.
	if err := e.endpoint.open(); err != nil && (e.endpoint.socket < 0 || e.endpoint.listens()) {
		m.unarmed(e, o, fmt.Errorf("%s: %w", e.ProcessID, err))
		return
	}
	segments, fds, err := m.prepareSegments(e, o.epoch)
	if err != nil {
		m.unarmed(e, o, err)
		return
	}
	activation := activationOf(&e.Binding, e.endpoint.network, e.endpoint.address, o.epoch)
	activation.Segments, activation.Takeover = segments, o.worker != 0
	payload, err := m.keeper.Activation(e.pool(), activation)
	if err != nil {
		m.unarmed(e, o, fmt.Errorf("%s: activation: %w", e.ProcessID, err))
		return
	}
	guard := m.keeper.Worker(o.worker)
	m.command(e, m.engine.Arm(takeover.Plan{Binding: e.id, Guard: o.worker, Epoch: o.epoch, Reserve: m.reserve(e),
		GuardDead: o.worker != 0 && (guard == nil || guard.Reaped()),
		Pool:      m.keeper.PoolOf(e.pool()), Payload: payload, Descriptors: append([]int{e.endpoint.socket}, fds...)}, again))
}

func (m *Manager) publish(e *entry, reason Reason) {
	r := Route{ProcessID: e.ProcessID, Pattern: e.Pattern, Key: e.Key, Address: e.Address,
		Epoch: e.phase.epoch, State: e.phase.state, Reason: reason, Published: monotime.Now()}
	if reason == ReasonFailover {
		r.Death = e.death
	}
	switch {
	case r.State == Draining:
		r.State = Gone // for a proxy it is over
	case r.State == Failed && e.phase.everServed && !e.phase.shut:
		r.State = Recovering // its clients wait
	case r.State == Starting && e.phase.worker != 0:
		r.State = Active // whoever connects now is served as soon as it accepts
	}
	if w := m.keeper.Worker(e.phase.worker); w != nil {
		r.Pid = w.Pid
	}
	m.routes.publish(r)
}

func (m *Manager) startDeadline(e *entry) {
	e.deadline.Stop()
	e.deadline = m.loop.After(e.manifest.StartTimeout+deadlineSlack, func() { m.apply(e, input{kind: inDeadline}) })
}

func (m *Manager) resolve(e *entry, err error) {
	for _, done := range e.launched {
		done <- err
	}
	m.launching -= len(e.launched)
	e.launched = nil
}

// errNoEpochs: epochs were used faster than the disk keeps them.
var errNoEpochs = errors.New("no epoch is reserved yet; the disk is slow")

// failing tells that a binding could not recover for now. Its clients wait on,
// or are refused.
func (m *Manager) failing(e *entry) {
	m.told(e)
	if e.manifest.OnFailure == patterns.OnFailureRefuse {
		m.apply(e, input{kind: inRefuse})
	}
}

// shut refuses the clients of a binding, and has the engine forget its plan,
// whose socket is ended.
func (m *Manager) shut(e *entry) {
	m.command(e, m.engine.Disarm(e.id))
	m.rename(e)
	if err := e.endpoint.shut(); err != nil {
		m.cfg.Pool.Log.Error("endpoint cannot be made again", "process_id", e.ProcessID, "error", err)
	}
}

// open lets clients in again. Their first worker follows. What fails here is tried
// again, and told, when its plan is armed.
func (m *Manager) open(e *entry) {
	if e.endpoint.network == "unix" { // shut down for good
		e.endpoint.end()
	}
	_ = e.endpoint.open()
}

// broken closes the endpoint, so that clients are refused instead of hanging,
// and tells those who wait why.
func (m *Manager) broken(e *entry) {
	e.endpoint.close()
	m.told(e)
}

// told tells everybody why a binding has no worker.
func (m *Manager) told(e *entry) {
	if e.failure == nil {
		e.failure = fmt.Errorf("%s: no worker within %v", e.ProcessID, e.manifest.StartTimeout)
		if last := m.keeper.LastFailure(e.pool()); last != nil {
			e.failure = fmt.Errorf("%w; the last start failed: %w", e.failure, last)
		}
	}
	e.Errors++
	e.LastError = e.failure.Error()
	e.failed = time.Now()
	m.resolve(e, e.failure)
	m.emit(e, event.BindingFailed, e.LastError, nil)
}

// failedKept is how long a failed binding can be looked at.
const failedKept = 15 * time.Minute

// forgetFailed ends a failed binding that nobody has launched again, so that
// launches of ever new keys leave nothing behind. One whose segments hold
// somebody's work stays.
func (m *Manager) forgetFailed(e *entry) {
	if !e.phase.everServed && !m.holdsWork(e) && time.Since(e.failed) > failedKept && time.Now().After(e.until) {
		m.apply(e, input{kind: inRelease})
	}
}

// closeEndpoint ends an address. A TCP port is given to nobody else for a while.
func (m *Manager) closeEndpoint(e *entry) {
	address := e.endpoint.address
	if socket := e.endpoint.release(); socket >= 0 {
		m.resting.put(restingPort{processID: e.ProcessID, address: address, socket: socket, since: time.Now()})
	}
}

func (m *Manager) gone(e *entry) {
	e.deadline.Stop()
	m.closeEndpoint(e)
	m.segmentsEnded(e)
	delete(m.bindings, e.ProcessID)
	if m.perNamespace[e.Key.Namespace]--; m.perNamespace[e.Key.Namespace] == 0 {
		delete(m.perNamespace, e.Key.Namespace)
	}
	if m.perPool[e.pool()]--; m.perPool[e.pool()] == 0 {
		delete(m.perPool, e.pool())
	}
	delete(m.byID, e.id)
	m.ended.put(e.ProcessID, e.phase.next()-1)
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
