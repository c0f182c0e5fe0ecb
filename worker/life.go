package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"understudy/internal/control"
	"understudy/internal/fdpass"
	"understudy/internal/pace"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/worker/heir"
)

const (
	// defaultGrace is the grace period where nobody gives one: on SIGTERM, and
	// in a drain that does not say.
	defaultGrace = 5 * time.Second
	// lastWait is how long after its grace period Serve is still waited for.
	lastWait = time.Second
	// handoverTime is how long an active worker that was told to stop goes on
	// accepting while the supervisor activates its successor.
	handoverTime = time.Second
)

// life is what a worker is doing. All of it belongs to one goroutine, the loop
// in run; the pattern's functions run in others.
type life struct {
	pattern Pattern
	config  map[string]string
	heir    *heir.Heir
	log     *slog.Logger
	pace    pace.Switches
	link    *link

	ctx    context.Context
	probes prober
	warmed chan error // of Warm
	served chan error // of Serve

	isWarm     bool
	early      *understudyv1.Probe // came before the end of the warm-up
	assignment *Assignment         // nil until activated
	stop       context.CancelFunc  // ends Serve's context
	// stopping: the worker was asked to stop, and has asked the supervisor for a
	// successor. It accepts until drain comes, or noSuccessor fires.
	stopping    bool
	noSuccessor <-chan time.Time // end of handoverTime
	draining    bool
	hurried     bool             // asked to stop while it drained, or to drain at all
	overdue     <-chan time.Time // end of the grace period
	drained     bool
	// exitWhenDrained: no retire will come, or need come.
	exitWhenDrained bool
	supervisorGone  bool
	finished        bool // run returns

	active    deferredActive
	prewarmed func() // takes back what prewarm did; nil where nothing was rehearsed
}

// begin starts the warm-up.
func (l *life) begin(ctx context.Context) {
	l.ctx = ctx
	l.probes = newProber(ctx, l.pattern.Probe)
	l.warmed, l.served = make(chan error, 1), make(chan error, 1)
	go func() {
		var err error
		if l.pattern.Warm != nil {
			err = l.pattern.Warm(ctx, l.config)
		}
		if err == nil {
			err = l.rehearse(ctx)
		}
		l.warmed <- err
	}()
}

func (l *life) warm(err error) error {
	if err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	l.isWarm = true
	l.link.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Ready{
		Ready: &understudyv1.Ready{Protocol: Protocol, HeirPid: int32(l.heir.Pid())}}})
	if l.early != nil {
		l.probes.start(l.early.Id)
	}
	return nil
}

// receive obeys the supervisor. A standby that did not understand a message
// gives up, as it may have been the activation: another one can have it then,
// at once. An active worker has clients, and goes on.
func (l *life) receive(in incoming) error {
	if in.err != nil {
		if l.assignment != nil || errors.Is(in.err, control.ErrUnknown) {
			l.log.Warn("message of the supervisor is ignored", "error", in.err)
			fdpass.CloseAll(in.fds)
			return nil
		}
		return fmt.Errorf("supervisor sent: %w", in.err)
	}
	if m := in.message.GetActivate(); m != nil {
		return l.activate(m, in.fds)
	}
	fdpass.CloseAll(in.fds)
	switch m := in.message.Message.(type) {
	case *understudyv1.ToWorker_Probe:
		l.probe(m.Probe)
	case *understudyv1.ToWorker_Drain:
		l.drain(time.Duration(m.Drain.GraceMs) * time.Millisecond)
	case *understudyv1.ToWorker_Retire:
		l.finished = true
	}
	return nil
}

// activate is on the way of a failover: whatever can be done before or after
// is not done here.
func (l *life) activate(m *understudyv1.Activate, fds []int) error {
	if !l.isWarm || l.assignment != nil {
		fdpass.CloseAll(fds)
		return l.receive(incoming{err: fmt.Errorf("%w: activation of a worker that is no standby", control.ErrMalformed)})
	}
	a := newAssignment(m, l.link.conn)
	active := &understudyv1.FromWorker{Message: &understudyv1.FromWorker_Active{
		Active: &understudyv1.Active{ProcessId: a.ProcessID, Epoch: a.Epoch}}}
	l.active.sent = make(chan struct{})
	l.active.delay = activeDelay(m.Takeover, l.pace)
	announce := func() {
		l.active.begin(func() {
			l.link.send(active)
			if l.prewarmed != nil {
				l.prewarmed()
			}
		})
	}
	if err := a.receiveDescriptors(m, fds, l.heir, announce); err != nil {
		return fmt.Errorf("activate %s: %w", a.ProcessID, err)
	}
	l.assignment = a
	var ctx context.Context
	ctx, l.stop = context.WithCancel(l.ctx)
	go func() { l.served <- l.pattern.Serve(ctx, a) }()
	return nil
}

func (l *life) probe(m *understudyv1.Probe) {
	switch {
	case !l.isWarm:
		l.early = m
	case l.draining:
		l.answer(result{id: m.Id})
	default:
		l.probes.start(m.Id)
	}
}

func (l *life) answer(r result) {
	if l.draining { // the canary may have found the door closed
		r.err = nil
	}
	answer := &understudyv1.ProbeResult{Id: r.id, Ok: r.err == nil}
	if !answer.Ok {
		answer.Error = valid(r.err.Error())
	}
	if l.assignment != nil {
		answer.ProcessId, answer.Epoch = l.assignment.ProcessID, l.assignment.Epoch
	}
	l.link.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_ProbeResult{ProbeResult: answer}})
}

// drain lets Serve finish; a worker that serves nobody is finished.
func (l *life) drain(grace time.Duration) {
	if l.assignment == nil {
		l.finished = true
		return
	}
	if l.draining {
		return
	}
	if grace <= 0 {
		grace = defaultGrace
	}
	l.draining, l.noSuccessor = true, nil
	l.assignment.grace.Store(int64(grace))
	l.overdue = time.After(grace + lastWait)
	l.stop() // first: a listener that closes before that has failed
	closeListeners(l.assignment.Listeners)
}

// ended is the end of Serve.
func (l *life) ended(err error) error {
	if !l.draining {
		if err == nil {
			err = errors.New("returned without having been asked to")
		}
		return fmt.Errorf("serve %s: %w", l.assignment.ProcessID, err)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
		// Many servers have an error of their own for a stop that was asked for.
		l.log.Info("serve ended", "process_id", l.assignment.ProcessID, "epoch", l.assignment.Epoch, "error", err)
	}
	l.drained, l.overdue = true, nil
	l.active.settle()
	l.link.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Drained{Drained: &understudyv1.Drained{}}})
	l.finished = l.exitWhenDrained
	return nil
}

// terminate is SIGTERM, or the end of Run's context. An active worker asks for
// a successor and goes on accepting, so that no connection waits until this
// worker is gone. The second time it drains without one. Once more, while the
// worker drains, ends it.
func (l *life) terminate(reason string) {
	l.exitWhenDrained = true
	switch {
	case l.assignment == nil || l.drained:
		l.finished = true
	case l.draining:
		l.finished = l.hurried
		l.hurried = true
	case l.stopping || l.supervisorGone:
		l.hurried = true
		l.drain(0)
	default:
		l.stopping = true
		l.noSuccessor = time.After(handoverTime)
		l.active.settle()
		l.link.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Draining{
			Draining: &understudyv1.Draining{Reason: reason}}})
	}
}

// supervisorLeft is the end of the control socket. A standby is of no use to
// anybody then; an active worker has clients.
func (l *life) supervisorLeft() {
	l.supervisorGone, l.exitWhenDrained = true, true
	switch {
	case l.assignment == nil || l.drained:
		l.finished = true
	case l.draining:
	case l.stopping:
		l.drain(0)
	default:
		l.log.Warn("supervisor is gone; serving on", "process_id", l.assignment.ProcessID, "epoch", l.assignment.Epoch)
	}
}

// valid makes any text fit for a message.
func valid(text string) string {
	const most = 8 << 10
	return strings.ToValidUTF8(text[:min(len(text), most)], "\uFFFD")
}
