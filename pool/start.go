package pool

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/control"
	"understudy/internal/event"
	"understudy/internal/pace"
	"understudy/internal/text"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/sentinel"
)

// controlGrace is how long a worker whose control socket has closed may take
// to be seen dead, before it counts as alive and out of our hands.
const controlGrace = 50 * time.Millisecond

// start begins a worker's life: fork and exec run beside the loop.
func (k *Keeper) start(p *workerPool) {
	k.nextID++
	w := &Worker{ID: k.nextID, Name: fmt.Sprintf("%s-%d", p.manifest.Name, k.nextID), pool: p, started: time.Now()}
	w.log = k.cfg.Log.With("pattern", p.manifest.Name, "worker", w.Name)
	k.workers[w.ID] = w
	p.counts[Starting]++
	p.starts++
	k.running++
	if k.cfg.Leaks != nil {
		k.cfg.Leaks.Expect(p.manifest.Adopt)
	}
	go func() {
		proc, err := spawn(p.manifest, w.Name, uint64(w.ID), k.surroundings())
		k.post(func() { k.spawned(w, proc, err) })
	}()
}

// spawned takes over the process and waits for its ready.
func (k *Keeper) spawned(w *Worker, proc *process, err error) {
	if k.cfg.Leaks != nil {
		pid := 0
		if err == nil {
			pid = proc.pid
		}
		k.cfg.Leaks.Watch(pid, w.pool.manifest.Adopt)
	}
	if err != nil {
		w.why, w.failStep = Cause{Kind: CauseSpawn, Err: err}, StepSpawn
		k.ended(w)
		return
	}
	w.Pid, w.pidfd, w.doom, w.raw = proc.pid, proc.pidfd, proc.doom, proc.control
	w.group, w.procs = proc.group, proc.procs
	w.log = w.log.With("pid", w.Pid)
	if proc.badOOM != nil && !k.toldOOM {
		k.toldOOM = true
		w.log.Warn("workers keep the supervisor's OOM score", "wanted", w.pool.manifest.OOMScoreAdj, "error", proc.badOOM)
	}
	k.byPid[w.Pid] = w
	k.move(w, Warming)
	w.output = captureOutput(w.log, &k.droppedLines, proc.stdout, proc.stderr)
	if w.control, err = control.NewConn(w.raw); err != nil {
		w.why, w.failStep = Cause{Kind: CauseSpawn, Err: err}, StepSpawn
	}
	if err := k.reaper.Watch(w.Pid, int(w.pidfd.Fd()), func(n sentinel.Notice) {
		if n.Kind == sentinel.Exited { // the sentinel's thread never waits
			time.AfterFunc(pace.Reap, func() { k.post(func() { k.exited(w) }) })
		}
	}); err != nil {
		w.why, w.failStep = Cause{Kind: CauseSpawn, Err: fmt.Errorf("watch: %w", err)}, StepSpawn
		k.kill(w)
		go func() { // nobody else will tell
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.pidfd.Fd()), Events: unix.POLLIN}}, -1)
			k.post(func() { k.exited(w) })
		}()
		return
	}
	if w.why.Kind != "" || k.stopping {
		k.kill(w)
		return
	}
	k.introduce(w)
	k.emit(w, event.WorkerStarted, "process started", nil)
	k.armDeadline(w, w.pool.manifest.StartTimeout, func() {
		k.fail(w, CauseStartTimeout, fmt.Errorf("not ready within %v", w.pool.manifest.StartTimeout))
	})
	w.heard = make(chan struct{})
	go k.listen(w, w.control, w.heard)
}

func (k *Keeper) armDeadline(w *Worker, d time.Duration, f func()) {
	k.disarmDeadline(w)
	var t *time.Timer
	t = k.after(d, func() {
		if w.deadline == t && w.alive() {
			f()
		}
	})
	w.deadline = t
}

func (k *Keeper) disarmDeadline(w *Worker) {
	if w.deadline != nil {
		w.deadline.Stop()
		w.deadline = nil
	}
}

// listen reads a worker's messages until its control socket closes.
func (k *Keeper) listen(w *Worker, c *control.Conn, heard chan<- struct{}) {
	defer close(heard)
	for {
		b, fds, err := c.Recv()
		for _, fd := range fds { // workers have nothing to pass
			unix.Close(fd)
		}
		if err != nil {
			k.post(func() { k.lostControl(w, err) })
			return
		}
		m, err := control.DecodeFromWorker(b)
		if err != nil {
			k.post(func() { k.lostControl(w, err) })
			return
		}
		k.post(func() { k.received(w, m) })
	}
}

// lostControl deals with a control socket that closed or spoke garbage. A
// worker that is dying closes it too, so its death gets a moment to show.
func (k *Keeper) lostControl(w *Worker, err error) {
	closed := errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET)
	switch {
	case w.State == Draining:
		return
	case !w.alive():
		if !closed {
			k.lastWord(w, CauseProtocol, fmt.Errorf("control socket: %w", err))
		}
		return
	case closed:
		k.unnoticed(w)
		k.after(controlGrace, func() {
			switch {
			case !w.alive() || w.State == Draining:
			case w.Dead(): // and the engine does not tell
				k.reaper.Unmute(w.Pid)
			default:
				k.fail(w, CauseProtocol, errors.New("control socket closed by a living worker"))
			}
		})
		return
	}
	k.fail(w, CauseProtocol, fmt.Errorf("control socket: %w", err))
}

// lastWord keeps why a worker ended, where nothing better is known. It may be
// read when the worker is dead already.
func (k *Keeper) lastWord(w *Worker, kind CauseKind, err error) {
	if w.why.Kind == "" {
		w.why, w.failStep = Cause{Kind: kind, Err: err}, w.step()
	}
}

func (k *Keeper) received(w *Worker, m *understudyv1.FromWorker) {
	if f := m.GetFatal(); f != nil {
		k.lastWord(w, CauseFatal, fmt.Errorf("worker gave up: %s", text.Clip(f.Error, maxWords)))
		w.log.Warn("worker gave up", "error", text.Clip(f.Error, maxWords))
		return
	}
	if !w.alive() {
		return
	}
	switch m := m.Message.(type) {
	case *understudyv1.FromWorker_Ready:
		k.ready(w, m.Ready)
	case *understudyv1.FromWorker_ProbeResult:
		if m.ProbeResult.ProcessId != "" && w.State == Warming {
			k.hooks.Serving(w, m.ProbeResult.ProcessId, m.ProbeResult.Epoch)
		}
		k.probed(w, m.ProbeResult)
	case *understudyv1.FromWorker_Active:
		k.hooks.Serving(w, m.Active.ProcessId, m.Active.Epoch)
	case *understudyv1.FromWorker_Draining:
		if w.State == Active {
			k.hooks.Draining(w, text.Clip(m.Draining.Reason, maxWords))
		}
	case *understudyv1.FromWorker_Drained:
		if w.State == Draining {
			k.tell(w, &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Retire{Retire: &understudyv1.Retire{}}})
		}
	}
}

// ready begins the last step before standby: the probe.
func (k *Keeper) ready(w *Worker, r *understudyv1.Ready) {
	if w.State != Warming || w.probe.id > 0 {
		k.fail(w, CauseProtocol, errors.New("said ready twice"))
		return
	}
	if r.Protocol != 1 {
		k.fail(w, CauseProtocol, fmt.Errorf("speaks control protocol %d; this supervisor speaks 1", r.Protocol))
		return
	}
	w.heirTold = int(r.HeirPid)
	k.adoptHeir(w, heirTries)
	k.sendProbe(w)
}

const (
	// heirTries is how often an heir is adopted that cannot be watched, or has
	// not named itself yet, and heirPause the time between two tries.
	heirTries = 5
	heirPause = 20 * time.Millisecond
)

// adoptHeir takes over the heir that w has told of.
func (k *Keeper) adoptHeir(w *Worker, tries int) {
	pid := w.heirTold
	if pid <= 0 || w.heir != 0 || k.byPid[pid] != nil {
		return
	}
	err := k.heirs.adopt(pid)
	switch {
	case err == nil:
		w.heir = pid
		k.heirs.tell(pid)
		if w.alive() {
			k.introduceHeir(w)
		}
	case tries > 1 && w.alive():
		k.after(heirPause, func() { k.adoptHeir(w, tries-1) })
	default:
		w.log.Warn("worker's heir cannot be watched", "error", err)
	}
}

// warm makes a standby, or an active worker where an engine that is gone had
// activated it.
func (k *Keeper) warm(w *Worker) {
	k.disarmDeadline(w)
	if w.ProcessID != "" {
		return
	}
	if !w.wasWarm {
		w.wasWarm = true
		k.running--
		w.pool.started(time.Since(w.started))
	}
	w.warmAt = time.Now()
	k.move(w, Standby)
	k.command("offer", w, k.engine.Offer(w.ID, w.pool.id, false))
	k.emit(w, event.WorkerReady, fmt.Sprintf("standby after %v", time.Since(w.started).Round(time.Millisecond)), nil)
	k.hooks.Ready(w)
	k.fill()
}

// startWeight is how much a new start counts in the mean of start times: 1 of
// this.
const startWeight = 4

// started notes a start that went well.
func (p *workerPool) started(took time.Duration) {
	p.failure = nil
	if p.startTime == 0 {
		p.startTime = took
	}
	p.startTime += (took - p.startTime) / startWeight
}

// maxDemandPause bounds how long a failed start holds back the next one for a
// binding that waits.
const maxDemandPause = 100 * time.Millisecond

// hold makes those who wait wait a moment after a start that failed. Unlike the
// backoff of the spares it does not grow.
func (k *Keeper) hold(p *workerPool) {
	if !p.demandAt.IsZero() {
		return
	}
	d := min(k.cfg.BackoffMin, maxDemandPause)
	p.demandAt = time.Now().Add(d)
	k.after(d, func() {
		p.demandAt = time.Time{}
		k.fill()
	})
}

// block holds a pattern's starts back after a start that failed or a standby
// that died. Each time in a row waits longer; quiet times and activations let
// it begin anew from the minimum.
func (k *Keeper) block(p *workerPool) {
	if !p.retryAt.IsZero() {
		return
	}
	if time.Since(p.blockedAt) > 2*k.cfg.BackoffMax {
		p.backoff.Reset()
	}
	p.blockedAt = time.Now()
	// Its jitter goes beyond the bounds on both sides.
	d := min(max(p.backoff.NextBackOff(), k.cfg.BackoffMin), k.cfg.BackoffMax)
	p.retryAt = p.blockedAt.Add(d)
	p.retry = k.after(d, func() {
		p.retryAt = time.Time{}
		k.fill()
	})
}
