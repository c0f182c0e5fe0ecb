package takeover

import (
	"encoding/json"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"understudy/sentinel"
)

// maxBacklog bounds the events that wait for room in the supervisor's socket.
// Beyond it they are dropped and counted; the reconcile pass heals.
const maxBacklog = 16384

// engine carries out what state decides. Every method runs on the sentinel's
// thread; nothing is locked.
type engine struct {
	state    *state
	sentinel *sentinel.Sentinel
	socket   int
	workers  map[WorkerID]*handles
	in       []byte
	oob      []byte
	out      []byte
	reports  []Event
	backlog  [][]byte
	dropped  uint64
	silence  silence
	monitor  sentinel.Feature // how the process itself runs; no name if it is not ours
}

// handles are the descriptors of one worker; the engine owns them.
type handles struct {
	pid     int
	pidfd   int
	control int
	fence   int // -1 without an heir
}

// message is an activation ready to be sent: all that sendmsg needs is filled
// in when the plan is armed.
type message struct {
	payload []byte
	rights  []byte
	fds     []int
	iov     unix.Iovec
	header  unix.Msghdr
}

func newMessage(payload []byte, fds []int) *message {
	m := &message{payload: payload, fds: fds}
	if len(fds) > 0 {
		m.rights = unix.UnixRights(fds...)
		m.header.Control = &m.rights[0]
		m.header.SetControllen(len(m.rights))
	}
	m.iov.Base = unsafe.SliceData(payload)
	m.iov.SetLen(len(payload))
	m.header.Iov = &m.iov
	m.header.SetIovlen(1)
	return m
}

// send is the hot path's one system call. It never blocks.
func (m *message) send(socket int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(socket),
		uintptr(unsafe.Pointer(&m.header)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if errno != 0 {
		return errno
	}
	return nil
}

func (m *message) close() {
	for _, fd := range m.fds {
		unix.Close(fd)
	}
	m.fds = nil
}

// Serve runs the engine on the calling goroutine, whose thread becomes the
// sentinel's, until the supervisor's end of socket is closed. It owns socket.
func Serve(socket int, opts sentinel.Options) error { return serve(socket, opts, nil) }

// serve calls still when the sentinel's probes are over, which wait by timers of
// their threads.
func serve(socket int, opts sentinel.Options, still func() sentinel.Feature) error {
	defer unix.Close(socket)
	opts.QuietFence = true // nothing here waits for it
	quiet, err := newSilence()
	if err != nil {
		return fmt.Errorf("takeover: timerfd: %w", err)
	}
	s, err := sentinel.New(opts)
	if err != nil {
		unix.Close(quiet.timer)
		return fmt.Errorf("takeover: %w", err)
	}
	e := &engine{
		state:    newState(),
		sentinel: s,
		socket:   socket,
		workers:  make(map[WorkerID]*handles),
		in:       make([]byte, maxCommand),
		oob:      make([]byte, unix.CmsgSpace(4*maxFDs)),
		out:      make([]byte, 0, eventHeader),
		reports:  make([]Event, 0, 64),
		silence:  quiet,
	}
	if still != nil {
		e.monitor = still()
	}
	defer e.close()
	if err := errors.Join(s.WatchFD(socket, e.onCommands), s.WatchFD(e.silence.timer, e.onSilenceEnds)); err != nil {
		return fmt.Errorf("takeover: watch the command socket and the timer: %w", err)
	}
	return s.Run(e.hello)
}

func (e *engine) hello() {
	ladder := e.sentinel.Status()
	if e.monitor.Name != "" {
		ladder = append(ladder, e.monitor)
	}
	features, _ := json.Marshal(ladder) // strings and booleans always encode
	e.post(Event{Kind: Hello, Features: features})
	e.flush()
}

func (e *engine) close() {
	for w := range e.workers {
		e.release(w)
	}
	for _, p := range e.state.plans {
		p.message.close()
	}
	unix.Close(e.silence.timer)
}

// maxTurn is how many commands are read before deaths are looked at again.
const maxTurn = 64

// onCommands reads the commands that are there. Those beyond maxTurn wake the
// thread again.
func (e *engine) onCommands() {
	defer e.flush()
	for range maxTurn {
		n, oobn, flags, _, err := unix.Recvmsg(e.socket, e.in, e.oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil || n == 0: // the supervisor is gone; workers live on
			e.sentinel.Close()
			return
		}
		fds := parseRights(e.oob[:oobn])
		c, err := parseCommand(e.in[:n])
		if err != nil || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			closeAll(fds)
			continue
		}
		e.handle(c, fds)
		if activated, waiting := e.run(); activated || waiting {
			e.speak() // somebody waits for that
		}
	}
}

func (e *engine) handle(c command, fds []int) {
	switch c.op {
	case opWatch:
		e.watch(c, fds)
		return
	case opArm, opRearm:
		if e.state.armed(c.binding, c.worker, c.epoch) { // every pass says it again: nothing is made for that
			closeAll(fds)
			return
		}
		old := e.state.plans[c.binding]
		p := &plan{binding: c.binding, guard: c.worker, epoch: c.epoch, pool: c.pool,
			message: newMessage(append([]byte(nil), c.payload...), fds)}
		switch {
		case !e.state.arm(p):
			p.message.close()
			return
		case old != nil:
			old.message.close()
		}
		if c.op == opRearm {
			e.post(Event{Kind: Repaired, Binding: c.binding})
		}
		return
	case opOffer, opReoffer:
		if e.state.offer(c.worker, c.pool) && c.op == opReoffer {
			e.post(Event{Kind: Repaired, Worker: c.worker})
		}
	case opWithdraw:
		e.state.withdraw(c.worker)
	case opDisarm:
		if p := e.state.plans[c.binding]; p != nil {
			defer p.message.close()
		}
		e.state.disarm(c.binding)
	case opCondemn:
		if h := e.workers[c.worker]; h != nil {
			_ = unix.PidfdSendSignal(h.pidfd, unix.SIGKILL, nil, 0)
			e.doom(c.worker, h, cause{signal: int32(unix.SIGKILL), seen: sentinel.Now()})
		}
	case opForget:
		e.state.forget(c.worker, cause{seen: sentinel.Now()})
		e.release(c.worker)
	case opPing:
		e.post(Event{Kind: Pong})
	}
	closeAll(fds)
}

func (e *engine) watch(c command, fds []int) {
	if len(fds) < 2 || e.workers[c.worker] != nil {
		closeAll(fds)
		return
	}
	h := &handles{pid: int(c.pid), pidfd: fds[0], control: fds[1], fence: -1}
	if len(fds) > 2 {
		h.fence = fds[2]
	}
	e.workers[c.worker] = h
	e.state.watch(c.worker)
	w := c.worker
	if err := e.sentinel.Watch(h.pid, h.pidfd, func(n sentinel.Notice) { e.onNotice(w, n) }); err != nil {
		// Without a watch nobody would notice its death: say that it is lost.
		e.post(Event{Kind: Lost, Worker: w})
	}
}

// onNotice is where a failover begins.
func (e *engine) onNotice(w WorkerID, n sentinel.Notice) {
	h := e.workers[w]
	if h == nil {
		return
	}
	e.doom(w, h, cause{source: uint8(n.Source), signal: int32(n.Signal), dumper: int32(n.Dumper), at: n.At, seen: n.Seen})
	e.post(Event{Kind: Notice, Worker: w, NoticeKind: uint8(n.Kind), Source: uint8(n.Source),
		Signal: int32(n.Signal), Dumper: int32(n.Dumper), At: n.At, Seen: n.Seen})
	e.flush()
}

// doom activates whatever waits for the death of w, then cuts the dead
// worker's connections and takes its priority away, so that freeing its memory
// does not delay whoever must answer now.
func (e *engine) doom(w WorkerID, h *handles, c cause) {
	if !e.state.doom(w, c) {
		return
	}
	activated, waiting := e.run()
	if h.fence >= 0 {
		one := uint64(1)
		unix.RawSyscall(unix.SYS_WRITE, uintptr(h.fence), uintptr(unsafe.Pointer(&one)), 8)
	}
	if c.dumper != 0 {
		e.sentinel.HoldDump(h.pid) // soon: the dump is about to begin
		sentinel.DemoteDumper(int(c.dumper))
	}
	sentinel.Demote(h.pid)
	switch {
	case waiting, activated && h.fence < 0: // the supervisor has a worker to start, or connections to have cut
		e.speak()
	case activated:
		e.hush(h.pid)
	}
}

// run carries out effects until none is left, and reports whether a worker was
// activated, and whether a plan waits for one.
func (e *engine) run() (activated, waiting bool) {
	for {
		effects := e.state.take()
		if len(effects) == 0 {
			return activated, waiting
		}
		for i := range effects {
			f := effects[i] // by value: the slice is reused by the steps below
			if f.kind == effectReport {
				waiting = waiting || f.event.Kind == Waiting
				e.post(f.event)
				continue
			}
			h := e.workers[f.worker]
			if h == nil || f.plan.message.send(h.control) != nil {
				e.state.sendFailed(f.worker, f.plan)
				continue
			}
			activated = true
			e.state.activated(f.worker, f.plan, sentinel.Now())
			f.plan.message.close()
		}
	}
}

// post keeps an event for flush, which comes when the hot work is done.
func (e *engine) post(ev Event) { e.reports = append(e.reports, ev) }

// flush sends the events that were posted, oldest first, unless there is to be
// silence. What finds no room waits, within bounds, for the next command or
// notice; the supervisor pings.
func (e *engine) flush() {
	if e.silence.on {
		return
	}
	for len(e.backlog) > 0 {
		if !e.write(e.backlog[0]) {
			break
		}
		e.backlog = e.backlog[1:]
	}
	for i := range e.reports {
		e.reports[i].Dropped = e.dropped
		e.out = e.reports[i].append(e.out[:0])
		if len(e.backlog) == 0 && e.write(e.out) {
			continue
		}
		if len(e.backlog) >= maxBacklog {
			e.dropped++
			continue
		}
		e.backlog = append(e.backlog, append([]byte(nil), e.out...))
	}
	e.reports = e.reports[:0]
}

func (e *engine) write(b []byte) bool {
	err := unix.Send(e.socket, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS)
}

func (e *engine) release(w WorkerID) {
	h := e.workers[w]
	if h == nil {
		return
	}
	delete(e.workers, w)
	e.sentinel.Unwatch(h.pid)
	unix.Close(h.pidfd)
	unix.Close(h.control)
	if h.fence >= 0 {
		unix.Close(h.fence)
	}
}

func parseRights(oob []byte) []int {
	if len(oob) == 0 {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var fds []int
	for i := range messages {
		if more, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, more...)
		}
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
