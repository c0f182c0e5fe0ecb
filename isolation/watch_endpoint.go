package isolation

import (
	"errors"
	"fmt"
	"time"

	"understudy/internal/event"
	"understudy/pool"
)

const (
	// watchInterval is how often endpoints are looked at, watchTurn how many at
	// once at most: where there are more, the turns come quicker.
	watchInterval = 2 * time.Second
	watchTurn     = 64
	// watchMin is the least time between two turns, so that very many bindings do
	// not take all of the loop; each is looked at less often then.
	watchMin = 100 * time.Millisecond
)

// watchEndpoints looks at some endpoints, and at the next ones a moment later.
func (m *Manager) watchEndpoints() {
	if len(m.watched) == 0 {
		for _, e := range m.bindings {
			m.watched = append(m.watched, e)
		}
	}
	turn := min(watchTurn, len(m.watched))
	for _, e := range m.watched[:turn] {
		if m.bindings[e.ProcessID] == e {
			m.checkEndpoint(e)
			m.checkDeserted(e)
		}
	}
	m.watched = m.watched[turn:]
	m.loop.After(watchPause(len(m.bindings)), m.watchEndpoints)
}

// watchPause is the time from one turn to the next with so many bindings.
func watchPause(bindings int) time.Duration {
	turns := (bindings + watchTurn - 1) / watchTurn
	return max(watchInterval/time.Duration(max(turns, 1)), watchMin)
}

// errEndpoint: somebody ended the listening socket or took its path away.
var errEndpoint = errors.New("its endpoint was broken, and was made again")

// reachable reports whether clients find the listening socket at the address.
func (e *endpoint) reachable() bool {
	if e.socket < 0 {
		return true // refuses on purpose
	}
	if !e.listens() {
		return false
	}
	if e.network != "unix" {
		return true
	}
	inode, err := inodeOf(e.address)
	return err == nil && inode == e.inode
}

// checkEndpoint makes an endpoint again that nobody can reach: a worker can shut
// down the socket that all share, and cleaners take paths away. The active
// worker has the old socket, so another takes its place with the new one.
func (m *Manager) checkEndpoint(e *entry) {
	if e.phase.state != Active {
		return
	}
	if e.endpoint.reachable() {
		e.unreachable = false
		if e.endpoint.socket >= 0 {
			_ = e.endpoint.listen() // its worker's framework may have set another backlog
		}
		return
	}
	// Its worker is innocent if only the name is gone.
	if e.endpoint.network == "unix" && e.endpoint.listens() && e.endpoint.rename() {
		e.unreachable = false
		e.EndpointRepairs++
		m.emit(e, event.Repaired, fmt.Sprintf("the name of endpoint %s was gone; made it again", e.Address), nil)
		return
	}
	if err := e.endpoint.renew(); err != nil {
		e.LastError = fmt.Sprintf("endpoint cannot be made again: %v", err)
		if !e.unreachable { // told once
			e.unreachable = true
			m.cfg.Pool.Log.Error("endpoint cannot be made again", "process_id", e.ProcessID, "error", err)
		}
		return
	}
	e.unreachable = false
	e.EndpointRepairs++
	m.emit(e, event.Repaired, fmt.Sprintf("endpoint %s was gone; made it again", e.Address), nil)
	// To the engine a plan of the same epoch is the same plan: this one has
	// another socket.
	m.apply(e, input{kind: inRenew, epoch: e.phase.next()})
	if w := m.keeper.Worker(e.phase.worker); w != nil {
		m.keeper.Fail(w, pool.Cause{Kind: pool.CauseNotServing, Err: errEndpoint})
	}
}
