package pool

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/internal/pace"
	"understudy/sentinel"
)

// outputGrace bounds the wait for the last words of a dead worker, on its
// control socket and its pipes, in case a grandchild holds them open.
const outputGrace = 200 * time.Millisecond

// End asks a worker to stop: drain and retire, SIGKILL after grace. force
// kills at once. Exited comes in either case.
func (k *Keeper) End(w *Worker, grace time.Duration, force bool) {
	if force {
		grace = 0
	}
	k.feed(w, input{kind: inStop, now: time.Now(), grace: grace})
}

// Fail ends a worker that did not do its part, as if it had died. Cause has a
// kind and an error.
func (k *Keeper) Fail(w *Worker, cause Cause) { k.feed(w, input{kind: inFail, cause: cause}) }

// kill sends SIGKILL to the worker alone. Its group follows when it is dead:
// its heir must outlive it by a moment.
func (k *Keeper) kill(w *Worker) {
	k.reaper.Unmute(w.Pid)
	_ = unix.PidfdSendSignal(int(w.pidfd.Fd()), unix.SIGKILL, nil, 0)
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
	delete(k.byPid, w.Pid)
	k.settleHeir(w)
	k.command("forget", w, k.engine.Forget(w.ID))
	for _, f := range []*os.File{w.doom, w.pidfd, w.procs} {
		if f != nil {
			f.Close()
		}
	}
	k.endGroup(w)
	go func() {
		late := time.AfterFunc(outputGrace, w.close)
		w.output.readers.Wait()
		if w.heard != nil {
			<-w.heard
		}
		late.Stop()
		w.close()
		k.post(func() { k.feed(w, input{kind: inSilent}) })
	}()
	k.feed(w, input{kind: inExited, young: time.Since(w.warmAt) < max(wellFor, w.pool.startTime)})
}

// wellFor is how long a standby must have been well for its end to say nothing
// of the next one: a backend that closes idle connections ends every standby at
// times.
const wellFor = time.Second

// endGroup ends what a dead worker left in its control group, whatever session
// and process group that is in. Its heir may finish.
func (k *Keeper) endGroup(w *Worker) {
	if w.group == nil {
		k.endStrays(w)
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
	if w.status != nil {
		cause := w.cause()
		k.emit(w, event.WorkerExited, cause.String(), map[string]string{
			"status": w.status.String(),
			"user":   w.status.UserTime().String(),
			"system": w.status.SystemTime().String(),
			"maxrss": fmt.Sprint(w.status.MaxRSS()),
			"cause":  string(cause.Kind),
		})
	}
	delete(k.workers, w.ID)
	w.pool.counts[w.life.state]--
	k.fillLater()
}

func (k *Keeper) startFailed(w *Worker) {
	if k.stopping {
		return
	}
	p := w.pool
	e := &StartError{Pattern: w.Pattern(), Worker: w.Name, Step: w.life.step, Err: w.life.cause.Err}
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

// Dumping hears that a dying worker's thread begins to dump core.
func (k *Keeper) Dumping(w *Worker, thread int) {
	k.loop.After(pace.Patience, func() {
		if w.alive() {
			sentinel.PromoteDumper(w.Pid, thread)
		}
	})
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
		k.End(w, 0, true)
	}
	for pid, w := range k.heirs.told {
		w.log.Warn("worker's heir is in the way of the stop; going without it", "heir", pid)
	}
	clear(k.heirs.told)
}

// Remaining says whom a stop still waits for.
func (k *Keeper) Remaining() (who []string) {
	for _, w := range k.workers {
		who = append(who, fmt.Sprintf("worker %s (pid %d, %s)", w.Name, w.Pid, w.life.state))
	}
	for pid, w := range k.heirs.told {
		who = append(who, fmt.Sprintf("exit helper of %s (pid %d)", w.Name, pid))
	}
	if k.groups > 0 {
		who = append(who, fmt.Sprintf("%d control groups of dead workers", k.groups))
	}
	slices.Sort(who)
	return who
}

// Idle reports whether no worker, no heir and no control group is left.
func (k *Keeper) Idle() bool { return len(k.workers) == 0 && len(k.heirs.told) == 0 && k.groups == 0 }
