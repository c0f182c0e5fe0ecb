package isolation

import (
	"errors"

	"golang.org/x/sys/unix"

	"understudy/internal/poll"
	"understudy/internal/procfs"
	"understudy/pool"
)

// desertedLooks is how many looks in a row must find clients that wait before it
// is asked whether anybody can accept them.
const desertedLooks = 2

var errDeserted = errors.New("has closed its listening socket, and goes on as if it served")

// pending reports whether a client waits in the accept queue.
func (e *endpoint) pending() bool {
	ready, err := poll.Now(e.socket, unix.POLLIN)
	return err == nil && ready&unix.POLLIN != 0
}

// checkDeserted ends an active worker that has closed its listening socket and
// lives on: our copy keeps its clients waiting, and its probes are answered. A
// worker that has the socket and is slow to accept may be busy.
func (m *Manager) checkDeserted(e *entry) {
	if !e.phase.serving || !e.endpoint.pending() {
		e.pendingLooks = 0
		return
	}
	if e.pendingLooks++; e.pendingLooks < desertedLooks || e.asking {
		return
	}
	w := m.keeper.Worker(e.phase.worker)
	var st unix.Stat_t
	if w == nil || unix.Fstat(e.endpoint.socket, &st) != nil {
		return
	}
	e.asking = true
	go func() { // a process may have very many descriptors
		held := false
		for _, pid := range w.Processes() {
			held = held || procfs.HoldsSocket(pid, st.Ino)
		}
		_ = m.loop.Post(func() {
			e.asking = false
			if !held && m.bindings[e.ProcessID] == e && e.phase.worker == w.ID && e.phase.serving && e.phase.state == Active {
				m.keeper.Fail(w, pool.Cause{Kind: pool.CauseNotServing, Err: errDeserted})
			}
		})
	}()
}
