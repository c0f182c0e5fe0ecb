package isolation

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/pool"
)

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
	if e.phase.state != Active || e.endpoint.reachable() {
		return
	}
	old := e.endpoint.socket
	err := e.endpoint.bind()
	if err == nil {
		err = e.endpoint.listen()
	}
	unix.Close(old)
	if err != nil {
		m.cfg.Pool.Log.Error("endpoint cannot be made again", "process_id", e.ProcessID, "error", err)
		return
	}
	e.EndpointRepairs++
	m.emit(e, event.Repaired, fmt.Sprintf("endpoint %s was gone; made it again", e.Address), nil)
	// To the engine a plan of the same epoch is the same plan: this one has
	// another socket.
	m.apply(e, input{kind: inRenew, epoch: e.phase.next()})
	if w := m.keeper.Worker(e.phase.worker); w != nil {
		m.keeper.Fail(w, pool.Cause{Kind: pool.CauseNotServing, Err: errEndpoint})
	}
}
