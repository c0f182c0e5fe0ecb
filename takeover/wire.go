package takeover

import (
	"encoding/binary"
	"fmt"

	"understudy/internal/control"
)

// op is a command's kind.
type op uint8

const (
	opWatch    op = iota + 1 // worker, pid; fds: pidfd, control socket, fence eventfd
	opOffer                  // worker, pool
	opWithdraw               // worker
	opArm                    // binding, guard in worker, epoch, pool; payload; fds: listeners, segments
	opDisarm                 // binding
	opCondemn                // worker
	opForget                 // worker
	opPing                   // answered by Pong
	opReoffer                // like opOffer and opArm, for what should be so
	opRearm                  // already: Repaired says that it was not
)

// command is one datagram from the supervisor.
type command struct {
	op      op
	worker  WorkerID
	binding BindingID
	epoch   uint64
	pool    PoolID
	pid     int32
	payload []byte
}

// commandHeader is the size of a command without its payload.
const commandHeader = 1 + 8 + 8 + 8 + 4 + 4

// maxCommand bounds a command datagram: a control message and the header.
const maxCommand = 64<<10 + commandHeader

// maxFDs bounds the descriptors beside one command: what a control message can
// carry.
const maxFDs = control.MaxFDs

func (c *command) append(b []byte) []byte {
	b = append(b, byte(c.op))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.worker))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.binding))
	b = binary.LittleEndian.AppendUint64(b, c.epoch)
	b = binary.LittleEndian.AppendUint32(b, uint32(c.pool))
	b = binary.LittleEndian.AppendUint32(b, uint32(c.pid))
	return append(b, c.payload...)
}

func parseCommand(b []byte) (command, error) {
	if len(b) < commandHeader {
		return command{}, fmt.Errorf("takeover: command of %d bytes is too short", len(b))
	}
	return command{
		op:      op(b[0]),
		worker:  WorkerID(binary.LittleEndian.Uint64(b[1:])),
		binding: BindingID(binary.LittleEndian.Uint64(b[9:])),
		epoch:   binary.LittleEndian.Uint64(b[17:]),
		pool:    PoolID(binary.LittleEndian.Uint32(b[25:])),
		pid:     int32(binary.LittleEndian.Uint32(b[29:])),
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
	// Waiting: a plan fired and no standby is at hand; the next one offered
	// is taken at once.
	Waiting
	// Withdrawn answers Withdraw; OK says whether the worker was a standby.
	Withdrawn
	// Lost: a standby's control socket was broken at activation.
	Lost
	// Disarmed answers Disarm.
	Disarmed
	// Refused: Arm with an epoch that is not above the last one.
	Refused
	// Pong answers Ping.
	Pong
	// Repaired: an Offer or Arm that was said again made a difference.
	Repaired
)

// Event is one datagram to the supervisor. Times are CLOCK_MONOTONIC
// nanoseconds.
type Event struct {
	Kind    EventKind
	Worker  WorkerID
	Binding BindingID
	// Dead is the worker whose death fired the plan, 0 for a launch.
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
	// Features is set in Hello only: JSON of []sentinel.Feature.
	Features []byte
}

const eventHeader = 1 + 8*4 + 2 + 4 + 8*3 + 1 + 8 + 4

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
	ok := byte(0)
	if e.OK {
		ok = 1
	}
	b = append(b, ok)
	b = le.AppendUint64(b, e.Dropped)
	b = le.AppendUint32(b, uint32(e.Dumper))
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
		OK:         b[63] == 1,
		Dropped:    le.Uint64(b[64:]),
		Dumper:     int32(le.Uint32(b[72:])),
	}
	if len(b) > eventHeader {
		e.Features = append([]byte(nil), b[eventHeader:]...)
	}
	return e, nil
}
