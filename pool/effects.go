package pool

import (
	"fmt"
	"time"

	"understudy/internal/event"
	"understudy/internal/pace"
)

// feed takes one step of a worker and does what follows from it. What tells
// others comes last (see the output kinds), so a step that follows from it
// finds this one done.
func (k *Keeper) feed(w *Worker, in input) {
	was := w.life.state
	var outs []output
	w.life, outs = step(w.life, in)
	w.pool.counts[was]--
	w.pool.counts[w.life.state]++
	for _, o := range outs {
		k.do(w, o)
	}
}

func (k *Keeper) do(w *Worker, o output) {
	switch o.kind {
	case outStarted:
		k.begun(w)
	case outHeir:
		w.heirTold = o.heir
		k.adoptHeir(w, heirTries)
	case outProbe:
		k.told(w, w.link.probe(o.id))
	case outSet:
		w.timers[o.timer].Stop()
		w.timers[o.timer] = k.loop.After(o.after, func() {
			k.feed(w, input{kind: inTimer, timer: o.timer, serial: o.serial, dead: o.timer == timerControl && w.Dead()})
		})
	case outDrop:
		w.timers[o.timer].Stop()
	case outCatchUp:
		w.link.catchUp(func() {
			k.post(func() { k.feed(w, input{kind: inJudge, timer: o.timer, serial: o.serial}) })
		})
	case outStartOver:
		k.running--
	case outOffer:
		k.command("offer", w, k.engine.Offer(w.ID, w.pool.id, o.again))
	case outWithdraw:
		k.command("withdraw", w, k.engine.Withdraw(w.ID))
	case outFailing:
		k.failing(w)
	case outCondemn:
		k.command("condemn", w, k.engine.Condemn(w.ID))
	case outKill:
		k.kill(w)
	case outMute:
		if k.cfg.Pace.On(pace.ExitMute) {
			k.reaper.Mute(w.Pid)
		}
	case outUnmute:
		k.reaper.Unmute(w.Pid)
	case outDrain:
		k.told(w, w.link.drain(o.after))
	case outRetire:
		k.told(w, w.link.retire())
	case outLate:
		w.log.Warn("worker did not stop in its grace period")
	case outBlock:
		k.block(w.pool)
	case outUnnoticed:
		k.unnoticed(w)
	case outReady:
		k.ready(w)
	case outReap:
		k.exited(w)
	case outExited:
		k.hooks.Exited(w, w.cause()) // the binding need not wait for the last words
	case outFill:
		k.fill()
	case outEnded:
		k.ended(w)
	case outStartFailed:
		k.startFailed(w)
	}
}

// told logs that a worker does not take a message. It is dying or hung: its
// death or its probe says so.
func (k *Keeper) told(w *Worker, err error) {
	if err != nil {
		w.log.Debug("worker does not take a message", "error", err)
	}
}

// command logs that the engine did not take a command. The engine's end is
// noticed elsewhere, and the next one is told everything.
func (k *Keeper) command(what string, w *Worker, err error) {
	if err != nil {
		w.log.Warn("takeover engine is gone", "command", what, "error", err)
	}
}

// ready tells of a standby.
func (k *Keeper) ready(w *Worker) {
	took := time.Since(w.started)
	if w.warmAt.IsZero() {
		w.pool.started(took)
	}
	w.warmAt = time.Now()
	k.emit(w, event.WorkerReady, fmt.Sprintf("standby after %v", took.Round(time.Millisecond)), nil)
	k.hooks.Ready(w)
	k.fill()
}

// failing tells that a worker is being ended, and why.
func (k *Keeper) failing(w *Worker) {
	cause := w.life.cause
	what := event.WorkerFailed
	if cause.Kind == CauseHung {
		what = event.WorkerHung
	}
	k.emit(w, what, cause.String(), map[string]string{"cause": string(cause.Kind)})
}

func (k *Keeper) emit(w *Worker, kind event.Kind, message string, facts map[string]string) {
	k.hooks.Event(event.Event{Time: time.Now(), Kind: kind, Pattern: w.Pattern(), ProcessID: w.ProcessID,
		Worker: w.Name, Pid: w.Pid, Message: message, Facts: facts})
}

func (k *Keeper) post(f func()) { _ = k.loop.Post(f) }
