package isolation

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/pool"
	"understudy/takeover"
)

// HandleEngine takes an event of the takeover engine, on the loop.
func (m *Manager) HandleEngine(ev takeover.Event) {
	switch ev.Kind {
	case takeover.Rejected:
		m.rejected(ev)
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

func (m *Manager) handleBinding(e *entry, ev takeover.Event) {
	switch ev.Kind {
	case takeover.Activated:
		m.activated(e, ev)
	case takeover.Waiting:
		if ev.Dead != 0 && !ev.Handover && e.phase.armed {
			m.died(e, ev)
			m.emit(e, event.NoStandby, whyWaiting(ev), nil)
		}
		m.apply(e, input{kind: inWaiting})
	case takeover.Retrying:
		m.retried(e, ev)
	case takeover.Disarmed:
		m.apply(e, input{kind: inDisarmed})
	case takeover.Refused:
		m.epochRefused(e, ev)
	}
}

func whyWaiting(ev takeover.Event) string {
	if ev.Errno != 0 {
		return fmt.Sprintf("activation cannot be sent: %v", unix.Errno(ev.Errno))
	}
	return "no standby is left; starting one"
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
	}
	m.repeatPlans()
	return missed
}

// maxRepeated is how many plans a reconcile pass repeats: each is encoded and
// sent. Where there are more, the next pass goes on.
const maxRepeated = 512

func (m *Manager) repeatPlans() {
	if len(m.reasserted) == 0 {
		m.reasserted = slices.Collect(maps.Values(m.bindings))
	}
	turn := min(maxRepeated, len(m.reasserted))
	for _, e := range m.reasserted[:turn] {
		if m.bindings[e.ProcessID] == e && e.phase.armed && e.phase.worker != 0 && !e.arming {
			m.arm(e, output{kind: outArm, worker: e.phase.worker, epoch: e.phase.next()}, true)
		}
	}
	m.reasserted = m.reasserted[turn:]
}
