package takeover

import (
	"encoding/binary"
	"fmt"

	"understudy/internal/control"
)

// Op is a command's kind.
type Op uint8

// The commands.
const (
	OpWatch    Op = iota + 1 // worker, pid; fds: pidfd, control socket, cgroup.procs or none
	OpOffer                  // worker, pool
	OpWithdraw               // worker
	OpArm                    // binding, guard in worker, epoch, pool, reserve; payload; fds: listeners, segments
	OpDisarm                 // binding
	OpCondemn                // worker
	OpForget                 // worker
	OpPing                   // answered by Pong
	OpHandover               // worker
	OpHeir                   // worker, the heir's pid; fds: doom socket, or none where the heir is gone
)

var opNames = [...]string{"unknown", "watch", "offer", "withdraw", "arm", "disarm", "condemn", "forget", "ping", "handover", "heir"}

// String returns the command's name in lower case.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return opNames[0]
}

// flags of a command.
const (
	// flagAgain: the engine should know it already; Repaired says that it did
	// not.
	flagAgain = 1 << iota
	// flagGuardDead is Plan.GuardDead.
	flagGuardDead
)

// command is one datagram from the supervisor.
type command struct {
	op      Op
	flags   uint8
	worker  WorkerID
	binding BindingID
	epoch   uint64
	pool    PoolID
	reserve uint32
	pid     int32
	fds     uint32 // how many descriptors were sent beside it
	payload []byte
}

// answered reports whether the engine says something at once to a command that
// it carries out.
func (c *command) answered() bool {
	switch c.op {
	case OpWithdraw, OpDisarm, OpCondemn, OpHandover:
		return true
	case OpArm:
		return c.worker == 0 || c.flags&flagGuardDead != 0
	}
	return false
}

// commandHeader is the size of a command without its payload.
const commandHeader = 1 + 1 + 8 + 8 + 8 + 4 + 4 + 4 + 4

// maxCommand bounds a command datagram: a control message and the header.
const maxCommand = 64<<10 + commandHeader

// maxFDs bounds the descriptors beside one command: what a control message can
// carry.
const maxFDs = control.MaxFDs

func (c *command) append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, byte(c.op), c.flags)
	b = le.AppendUint64(b, uint64(c.worker))
	b = le.AppendUint64(b, uint64(c.binding))
	b = le.AppendUint64(b, c.epoch)
	b = le.AppendUint32(b, uint32(c.pool))
	b = le.AppendUint32(b, c.reserve)
	b = le.AppendUint32(b, uint32(c.pid))
	b = le.AppendUint32(b, c.fds)
	return append(b, c.payload...)
}

func parseCommand(b []byte) (command, error) {
	if len(b) < commandHeader {
		return command{}, fmt.Errorf("takeover: command of %d bytes is too short", len(b))
	}
	le := binary.LittleEndian
	return command{
		op:      Op(b[0]),
		flags:   b[1],
		worker:  WorkerID(le.Uint64(b[2:])),
		binding: BindingID(le.Uint64(b[10:])),
		epoch:   le.Uint64(b[18:]),
		pool:    PoolID(le.Uint32(b[26:])),
		reserve: le.Uint32(b[30:]),
		pid:     int32(le.Uint32(b[34:])),
		fds:     le.Uint32(b[38:]),
		payload: b[commandHeader:],
	}, nil
}

// EventKind says what an Event tells.
type EventKind uint8

// The kinds of events.
const (
	// Hello comes first; Features says how the sentinel runs.
	Hello EventKind = iota + 1
	// Notice: a worker is doomed, fenced or exited (Notice field).
	Notice
	// Activated: Worker was sent the activation of Binding with Epoch.
	Activated
	// Waiting: a plan fired and no standby is at hand, or no more than its
	// reserve; the next one offered is taken at once. With Errno set, standbys
	// are there, and no activation can be sent; the engine goes on trying.
	Waiting
	// Withdrawn answers Withdraw; OK says whether the worker was a standby.
	Withdrawn
	// Lost: a standby's control socket was broken at activation.
	Lost
	// Disarmed answers Disarm.
	Disarmed
	// Refused: Arm with an epoch that is not above the last one. The activation
	// of that one is told again behind it.
	Refused
	// Pong answers Ping.
	Pong
	// Repaired: an Offer or Arm that was said again made a difference.
	Repaired
	// Rejected: command Op for Worker, Binding and Epoch was not carried out. It
	// came damaged, or names a worker that the engine does not know. Say it
	// again, and what it stands upon.
	Rejected
	// Retrying: the activation of Binding could not be sent to standby Worker
	// because of Errno, which is not the standby's fault. It is tried again.
	Retrying
)

var eventNames = [...]string{"unknown", "hello", "notice", "activated", "waiting", "withdrawn", "lost", "disarmed", "refused",
	"pong", "repaired", "rejected", "retrying"}

// String returns the kind's name in lower case.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return eventNames[0]
}

// Event is one datagram to the supervisor. Times are CLOCK_MONOTONIC
// nanoseconds.
type Event struct {
	Kind    EventKind
	Worker  WorkerID
	Binding BindingID
	// Dead is the worker whose death, or handover, fired the plan; 0 for a
	// launch.
	Dead  WorkerID
	Epoch uint64
	// NoticeKind and Source are sentinel.Kind and sentinel.Source.
	NoticeKind uint8
	Source     uint8
	Signal     int32
	// At is the kernel's time of death (0 unknown), Seen when the sentinel
	// saw it, Sent when the activation was sent.
	At, Seen, Sent int64
	OK             bool
	// Dropped counts events that found no room since the process started.
	Dropped uint64
	// Dumper is sentinel.Notice's.
	Dumper int32
	// Handover: the plan fired though its guard was well.
	Handover bool
	// Op is the command that was Rejected.
	Op Op
	// Errno says why an activation is Retrying or Waiting (errno(3)).
	Errno uint32
	// Features is set in Hello only: JSON of []sentinel.Feature.
	Features []byte
}

const eventHeader = 1 + 8*4 + 2 + 4 + 8*3 + 1 + 8 + 4 + 1 + 4

// Bits of an event's byte of truths.
const (
	truthOK = 1 << iota
	truthHandover
)

func (e *Event) append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, byte(e.Kind))
	b = le.AppendUint64(b, uint64(e.Worker))
	b = le.AppendUint64(b, uint64(e.Binding))
	b = le.AppendUint64(b, uint64(e.Dead))
	b = le.AppendUint64(b, e.Epoch)
	b = append(b, e.NoticeKind, e.Source)
	b = le.AppendUint32(b, uint32(e.Signal))
	b = le.AppendUint64(b, uint64(e.At))
	b = le.AppendUint64(b, uint64(e.Seen))
	b = le.AppendUint64(b, uint64(e.Sent))
	truths := byte(0)
	if e.OK {
		truths |= truthOK
	}
	if e.Handover {
		truths |= truthHandover
	}
	b = append(b, truths)
	b = le.AppendUint64(b, e.Dropped)
	b = le.AppendUint32(b, uint32(e.Dumper))
	b = append(b, byte(e.Op))
	b = le.AppendUint32(b, e.Errno)
	return append(b, e.Features...)
}

func parseEvent(b []byte) (Event, error) {
	if len(b) < eventHeader {
		return Event{}, fmt.Errorf("takeover: event of %d bytes is too short", len(b))
	}
	le := binary.LittleEndian
	e := Event{
		Kind:       EventKind(b[0]),
		Worker:     WorkerID(le.Uint64(b[1:])),
		Binding:    BindingID(le.Uint64(b[9:])),
		Dead:       WorkerID(le.Uint64(b[17:])),
		Epoch:      le.Uint64(b[25:]),
		NoticeKind: b[33],
		Source:     b[34],
		Signal:     int32(le.Uint32(b[35:])),
		At:         int64(le.Uint64(b[39:])),
		Seen:       int64(le.Uint64(b[47:])),
		Sent:       int64(le.Uint64(b[55:])),
		OK:         b[63]&truthOK != 0,
		Handover:   b[63]&truthHandover != 0,
		Dropped:    le.Uint64(b[64:]),
		Dumper:     int32(le.Uint32(b[72:])),
		Op:         Op(b[76]),
		Errno:      le.Uint32(b[77:]),
	}
	if len(b) > eventHeader {
		e.Features = append([]byte(nil), b[eventHeader:]...)
	}
	return e, nil
}
