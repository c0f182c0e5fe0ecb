package takeover

import (
	"errors"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/internal/fdpass"
	"understudy/internal/monotime"
	"understudy/sentinel"
)

var commandFaults = fdpass.Labels{Recv: fault.EngineRecv, Cut: fault.EngineCut}

// maxTurn is how many commands are read before deaths are looked at again.
const maxTurn = 64

// handles are the descriptors of one worker; the engine owns them.
type handles struct {
	pid     int
	pidfd   int
	control int
	procs   int // its cgroup.procs; -1 without a cgroup of its own
	doom    int // wakes its heir; -1 without an heir
	heir    int // pid of its heir, or 0
}

// onCommands reads the commands that are there. Those beyond maxTurn wake the
// thread again.
func (e *engine) onCommands() {
	defer e.flush()
	for range maxTurn {
		n, fds, flags, err := fdpass.Receive(e.socket, e.in, e.oob, commandFaults)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil || n == 0: // the supervisor is gone; workers live on
			fdpass.CloseAll(fds)
			e.sentinel.Close()
			return
		}
		e.command(e.in[:n], fds, flags)
		if activated, waiting := e.run(); activated || waiting {
			e.endDelay() // somebody waits for that
		}
	}
}

// command carries out one command, or rejects it if it did not arrive whole:
// without room in the table of descriptors the kernel cuts them off
// (MSG_CTRUNC, recvmsg(2)).
func (e *engine) command(b []byte, fds []int, flags int) {
	c, short := parseCommand(b)
	if short != nil || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(fds) != int(c.fds) {
		fdpass.CloseAll(fds)
		e.reject(c)
		return
	}
	if !e.handle(c, fds) {
		e.reject(c)
	}
}

// reject tells the supervisor that a command was not carried out.
func (e *engine) reject(c command) {
	e.post(Event{Kind: Rejected, Op: c.op, Worker: c.worker, Binding: c.binding, Epoch: c.epoch})
}

// handle carries out a command and takes its descriptors over. It reports false
// for one that names a worker that it must know and does not.
func (e *engine) handle(c command, fds []int) bool {
	switch c.op {
	case OpWatch:
		return e.watch(c, fds)
	case OpHeir:
		return e.heir(c, fds)
	case OpArm:
		e.arm(c, fds)
		return true
	}
	fdpass.CloseAll(fds)
	switch c.op {
	case OpOffer:
		if !e.state.known(c.worker) {
			return false
		}
		if e.state.offer(c.worker, c.pool) && c.flags&flagAgain != 0 {
			e.post(Event{Kind: Repaired, Worker: c.worker})
		}
	case OpWithdraw:
		e.state.withdraw(c.worker)
	case OpDisarm:
		if p := e.state.plans[c.binding]; p != nil {
			defer p.close()
		}
		e.state.disarm(c.binding)
	case OpCondemn:
		h := e.workers[c.worker]
		if h == nil {
			return false
		}
		if fault.At(fault.EngineKill) == 0 {
			_ = unix.PidfdSendSignal(h.pidfd, unix.SIGKILL, nil, 0)
		}
		e.doom(c.worker, h, cause{signal: int32(unix.SIGKILL), seen: monotime.Now()})
	case OpHandover:
		return e.state.handover(c.worker, cause{seen: monotime.Now()})
	case OpForget:
		e.state.forget(c.worker, cause{seen: monotime.Now()})
		e.release(c.worker)
	case OpPing:
		e.state.repeat()
		e.post(Event{Kind: Pong})
	default:
		return false
	}
	return true
}

func (e *engine) arm(c command, fds []int) {
	p := &plan{binding: c.binding, guard: c.worker, epoch: c.epoch, pool: c.pool,
		reserve: int(c.reserve), guardDead: c.flags&flagGuardDead != 0,
		cause: cause{seen: monotime.Now()}} // unless a death that is known fires it
	if e.state.armed(p) { // every reconcile pass says it again
		fdpass.CloseAll(fds)
		e.state.remind(p.binding)
		return
	}
	p.actions = []action{{kind: actionSend, message: newMessage(append([]byte(nil), c.payload...), fds)}}
	old := e.state.plans[c.binding]
	switch {
	case !e.state.arm(p):
		p.close()
		return
	case old != nil:
		old.close()
	}
	if c.flags&flagAgain != 0 {
		e.post(Event{Kind: Repaired, Binding: c.binding})
	}
}

func (e *engine) watch(c command, fds []int) bool {
	if len(fds) < 2 || e.workers[c.worker] != nil { // said again: it is known
		fdpass.CloseAll(fds)
		return len(fds) >= 2
	}
	h := &handles{pid: int(c.pid), pidfd: fds[0], control: fds[1], procs: -1, doom: -1}
	if len(fds) > 2 {
		h.procs = fds[2]
	}
	w := c.worker
	err := fault.Error(fault.EngineWatch)
	if err == nil {
		err = e.sentinel.Watch(h.pid, h.pidfd, func(n sentinel.Notice) { e.onNotice(w, n) })
	}
	if err != nil {
		fdpass.CloseAll(fds) // nobody would notice its death
		return false
	}
	e.forks.prepare(h)
	e.workers[w] = h
	e.state.watch(w)
	return true
}

func (e *engine) heir(c command, fds []int) bool {
	h := e.workers[c.worker]
	if h == nil || len(fds) > 1 {
		fdpass.CloseAll(fds)
		return false
	}
	if h.doom >= 0 {
		unix.Close(h.doom)
	}
	h.doom, h.heir = -1, 0
	if len(fds) == 1 {
		h.doom, h.heir = fds[0], int(c.pid)
	}
	return true
}

// release lets go of a worker's descriptors.
func (e *engine) release(w WorkerID) {
	h := e.workers[w]
	if h == nil {
		return
	}
	delete(e.workers, w)
	e.sentinel.Unwatch(h.pid)
	for _, fd := range []int{h.pidfd, h.control, h.procs, h.doom} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
