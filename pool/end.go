package pool

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/internal/pace"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/sentinel"
)

// outputGrace bounds the wait for the last words of a dead worker, on its
// control socket and its pipes, in case a grandchild holds them open.
const outputGrace = 200 * time.Millisecond

// End asks a worker to stop: drain and retire, SIGKILL after grace. force
// kills at once. Exited comes in either case.
func (k *Keeper) End(w *Worker, grace time.Duration, force bool) {
	if !w.alive() {
		return
	}
	k.reaper.Unmute(w.Pid) // nobody takes over
	first := w.State != Draining
	wasActive := w.State == Active
	if first {
		w.probe.stop()
		k.move(w, Draining)
	}
	if force || grace <= 0 {
		k.kill(w)
		return
	}
	if !first && w.stopBy.Before(time.Now().Add(grace)) {
		return // a later time than was said before
	}
	w.stopBy = time.Now().Add(grace)
	k.armDeadline(w, grace, func() {
		w.log.Warn("worker did not stop in its grace period", "grace", grace)
		k.kill(w)
	})
	if !first {
		return
	}
	if wasActive {
		k.tell(w, &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Drain{Drain: &understudyv1.Drain{GraceMs: grace.Milliseconds()}}})
	} else {
		k.tell(w, &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Retire{Retire: &understudyv1.Retire{}}})
	}
}

// Fail ends a worker that did not do its part, as if it had died. Cause has a
// kind and an error.
func (k *Keeper) Fail(w *Worker, cause Cause) { k.fail(w, cause.Kind, cause.Err) }

func (k *Keeper) fail(w *Worker, kind CauseKind, err error) {
	if !w.alive() || w.why.Kind != "" && w.State == Draining {
		return
	}
	if w.why.Kind == "" {
		w.why, w.failStep = Cause{Kind: kind, Err: err}, w.step()
	}
	w.Healthy = false
	what := event.WorkerFailed
	if kind == CauseHung {
		what = event.WorkerHung
	}
	k.emit(w, what, err.Error(), map[string]string{"cause": string(kind)})
	if w.State == Standby || w.State == Active {
		k.command("condemn", w, k.engine.Condemn(w.ID))
	}
	k.kill(w) // the engine does it too, and quicker; this is for the case that it is gone
}

// kill sends SIGKILL to the worker alone. Its group follows when it is dead:
// its heir must outlive it by a moment.
func (k *Keeper) kill(w *Worker) {
	if w.alive() {
		k.reaper.Unmute(w.Pid)
		_ = unix.PidfdSendSignal(int(w.pidfd.Fd()), unix.SIGKILL, nil, 0)
	}
}

// Signal sends any signal to a worker.
func (k *Keeper) Signal(w *Worker, sig unix.Signal) error {
	if !w.alive() {
		return os.ErrProcessDone
	}
	return unix.PidfdSendSignal(int(w.pidfd.Fd()), sig, nil, 0)
}

// exited reaps a dead process, and ends whatever it left in its group. The
// dead leader keeps the group's number from being used again until it is
// reaped, so the order matters.
func (k *Keeper) exited(w *Worker) {
	if w.status != nil {
		return
	}
	k.unnoticed(w)
	_ = unix.Kill(-w.Pid, unix.SIGKILL)
	k.reaper.Unwatch(w.Pid) // in case that it was not the reaper who told
	status, err := sentinel.Reap(int(w.pidfd.Fd()))
	if err != nil {
		w.log.Error("cannot reap worker", "error", err)
	}
	w.status = &status
	if k.cfg.Leaks != nil {
		k.cfg.Leaks.Ended(w.Pid)
	}
	w.stopTimers()
	delete(k.byPid, w.Pid)
	k.settleHeir(w)
	k.command("forget", w, k.engine.Forget(w.ID))
	for _, f := range []*os.File{w.raw, w.doom, w.pidfd, w.procs} {
		if f != nil {
			f.Close()
		}
	}
	k.endGroup(w)
	go func() {
		late := time.AfterFunc(outputGrace, w.silence)
		w.output.readers.Wait()
		if w.heard != nil {
			<-w.heard
		}
		late.Stop()
		w.silence()
		k.post(func() { k.ended(w) })
	}()
	// The binding need not wait for the last words.
	k.hooks.Exited(w, w.cause())
	switch w.State {
	case Standby:
		if time.Since(w.warmAt) < max(wellFor, w.pool.startTime) {
			k.block(w.pool) // one that was well for a while is replaced at once
		}
		k.move(w, Failed)
		k.fill()
	case Active: // what follows from it comes with Activated or Demand
		k.move(w, Failed)
	}
}

// wellFor is how long a standby must have been well for its end to say nothing
// of the next one: a backend that closes idle connections ends every standby at
// times.
const wellFor = time.Second

// endGroup ends what a dead worker left in its control group, whatever session
// and process group that is in. Its heir may finish.
func (k *Keeper) endGroup(w *Worker) {
	if w.group == nil {
		return
	}
	k.groups++
	group, heir := w.group, w.heir
	go func() {
		if n := group.KillBut(func(pid int) bool { return pid == heir }); n > 0 {
			w.log.Info("ended what a dead worker left behind", "processes", n)
		}
		_ = group.Wait(heirTimeout)
		err := group.Remove(groupTimeout)
		k.post(func() {
			k.groups--
			if err != nil {
				w.log.Error("processes of a dead worker do not end", "error", err)
			}
		})
	}()
}

// ended closes a worker's account, its last words read.
func (k *Keeper) ended(w *Worker) {
	var facts map[string]string
	if w.status != nil {
		facts = map[string]string{
			"status": w.status.String(),
			"user":   w.status.UserTime().String(),
			"system": w.status.SystemTime().String(),
			"maxrss": fmt.Sprint(w.status.MaxRSS()),
		}
		cause := w.cause()
		facts["cause"] = string(cause.Kind)
		k.emit(w, event.WorkerExited, cause.String(), facts)
	}
	if !w.wasWarm {
		k.running--
	}
	delete(k.workers, w.ID)
	w.pool.counts[w.State]--
	if (w.State == Starting || w.State == Warming) && !w.wasWarm && !k.stopping {
		k.startFailed(w)
	}
	k.fillLater()
}

func (k *Keeper) startFailed(w *Worker) {
	p := w.pool
	e := &StartError{Pattern: w.Pattern(), Worker: w.Name, Step: w.failStep, Err: w.why.Err}
	if w.status != nil {
		e.Status = w.status.String()
		e.Output = w.output.tail()
	}
	if e.Err == nil {
		e.Step, e.Err = StepHandshake, errors.New("ended before it was ready")
	}
	p.failures++
	p.failure = e
	w.log.Warn("worker did not start", "error", e)
	k.emit(w, event.StartFailed, e.Error(), map[string]string{"step": string(e.Step)})
	k.block(p)
	k.hold(p)
	k.hooks.StartFailed(p.key, e)
}

// cause says how a worker ended: our reason for killing it, or its own way.
func (w *Worker) cause() Cause {
	c := w.why
	c.Status = w.status
	if c.Kind == "" {
		c.Kind = CauseExit
		if w.State == Draining {
			c.Kind = CauseStopped
		}
	}
	return c
}

// Dumping hears that a dying worker's thread begins to dump core.
func (k *Keeper) Dumping(w *Worker, thread int) {
	k.after(pace.Patience, func() {
		if w.alive() {
			sentinel.PromoteDumper(w.Pid, thread)
		}
	})
}

// settleHeir sees to the heir of a worker that has died. One that died before
// it was ready may have left an heir that it never told of.
func (k *Keeper) settleHeir(w *Worker) {
	k.adoptHeir(w, 1) // if it could not be, so far
	switch {
	case w.heir != 0:
		k.after(pace.Patience, func() { k.heirs.hasten(w.heir) })
	case w.pool.manifest.Heir && !w.wasWarm:
		if err := k.heirs.adoptUntold(func(pid int) bool { return k.byPid[pid] != nil }); err != nil {
			w.log.Warn("heirs cannot be looked for", "error", err)
		}
	}
}

// Stop ends every worker, each within its pattern's grace period, and starts
// none any more.
func (k *Keeper) Stop() {
	k.stopping = true
	for _, p := range k.order {
		if p.retry != nil {
			p.retry.Stop()
		}
	}
	for _, w := range k.Workers() {
		k.End(w, w.pool.manifest.GracePeriod, false)
	}
}

// KillAll ends every worker now, whatever its grace period, and says which were
// in the way of a stop. Heirs are waited for no longer.
func (k *Keeper) KillAll() {
	for _, w := range k.Workers() {
		w.log.Warn("worker is in the way of the stop; killing it")
		k.kill(w)
	}
	clear(k.heirs.told)
}

// Idle reports whether no worker, no heir and no control group is left.
func (k *Keeper) Idle() bool { return len(k.workers) == 0 && len(k.heirs.told) == 0 && k.groups == 0 }

// Dead reports whether a worker's process has ended, whoever told us or not.
func (w *Worker) Dead() bool {
	if !w.alive() {
		return true
	}
	p := []unix.PollFd{{Fd: int32(w.pidfd.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1
}
