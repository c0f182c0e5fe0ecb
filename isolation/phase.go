package isolation

import "understudy/takeover"

// phase is the part of a binding that decisions look at. Nothing in it is a
// clock, a descriptor or a process.
type phase struct {
	state State
	// worker is the active one, 0 without; serving once it said so.
	worker  takeover.WorkerID
	serving bool
	epoch   uint64
	// burnt is the newest epoch that an engine may have used without our
	// knowledge: it is never armed again.
	burnt uint64
	// armed: the engine holds a plan for the next epoch.
	armed bool
	// waiting: the plan fired and no standby was at hand.
	waiting bool
	// everServed: a worker has served since the binding was made, or since its
	// launch failed. Such a binding heals by itself.
	everServed bool
	// held: it has no worker and no plan, until a time that the manager keeps.
	held bool
	// shut: clients are refused at the address, and the engine has no plan. The
	// next standby opens it again.
	shut bool
	// rearmed: the deadline passed without the engine's word on the plan, and
	// it was armed once more.
	rearmed bool
	// disarming: the engine has not confirmed yet that it forgot the binding;
	// until then a worker may still be activated for it.
	disarming bool
	// hedged: a worker was given up as stuck, and none has served since.
	hedged bool
	// unsettled: an engine that is gone may have activated a worker for it, and
	// that worker has not said so yet. Until it has, nothing is armed.
	unsettled bool
	// short counts the workers that died soon after their activation, in a row.
	short shortLives
	// force: the release that is under way must not be gentle.
	force bool
}

// next is the epoch of the next plan.
func (p phase) next() uint64 { return max(p.epoch, p.burnt) + 1 }

// wants reports whether the binding waits for a worker to be started.
func (p phase) wants() bool { return p.waiting || p.shut && !p.held }

// inputKind is what happened to a binding.
type inputKind uint8

const (
	// inLaunch: somebody wants it bound.
	inLaunch inputKind = iota
	// inActivated: the engine sent worker the activation with epoch.
	inActivated
	// inServing: worker says that it accepts at epoch.
	inServing
	// inWaiting: the plan fired, and no standby was at hand.
	inWaiting
	// inDoomed: the engine saw that worker is dying.
	inDoomed
	// inLived: the active worker died, or wants to stop; short: so it did soon.
	inLived
	// inHedge: worker should accept by now; idle: another standby is there.
	inHedge
	// inProved: worker has had a long life.
	inProved
	// inExited: worker was reaped.
	inExited
	// inStartFailed: a worker that was to serve waiting bindings did not start.
	inStartFailed
	// inFailing: it has waited for a worker for long, and starts fail.
	inFailing
	// inRefuse: its clients have waited long enough.
	inRefuse
	// inStandby: a standby is there for a binding that is shut.
	inStandby
	// inRetry: the time of one that was held is over.
	inRetry
	// inRenew: the plan of that epoch is another now: its endpoint was made again.
	inRenew
	// inDeadline: a worker that was activated does not serve, or the engine does
	// not say what became of a plan. Waiting for a standby has no deadline.
	inDeadline
	// inRelease: it is to end.
	inRelease
	// inDisarmed: the engine has forgotten it.
	inDisarmed
	// inUnarmed: the plan that was to be armed could not be made.
	inUnarmed
	// inArmable: it is worth another try, for worker and epoch.
	inArmable
	// inEngineLost: a new engine knows nothing of it yet. unsure: some standby may
	// have been activated by the old one. lost: worker has none of it any more.
	inEngineLost
	// inSettled: every such standby has answered, or is gone. lost is as with
	// inEngineLost.
	inSettled
)

type input struct {
	kind   inputKind
	worker takeover.WorkerID
	epoch  uint64
	// spent: the crash budget is used up: no further plan.
	spent bool
	// handover: with inActivated, the former worker is well.
	handover bool
	force    bool
	short    bool
	unsure   bool
	lost     bool
	idle     bool
}

// outputKind is what is to be done.
type outputKind uint8

const (
	// outArm: give the engine the plan for epoch, guarded by worker. late: the
	// worker has just taken over and needs the processor more than its successor.
	outArm outputKind = iota
	outDisarm
	// outPublish: tell watchers the new state.
	outPublish
	// outDeadline: start the time for becoming active; outRelax: stop it.
	outDeadline
	outRelax
	// outFail: end worker, which was activated and does not serve.
	outFail
	// outLeave: let nobody connect any more; the worker that drains has the last
	// copy of the socket.
	outLeave
	// outDrain: end worker gently, or at once if forced.
	outDrain
	// outReady: those who launched may go on.
	outReady
	// outBroken: those who launched get the error; the endpoint closes.
	outBroken
	// outFailing: it could not recover for now. outHold: nor is it tried before
	// some time has passed.
	outFailing
	outHold
	// outWatch: see whether worker serves soon. outStuck: end it, it does not.
	outWatch
	outStuck
	// outProve: see whether worker lives long. outLoop: tell that the binding is
	// in a crash loop.
	outProve
	outLoop
	// outShut: withdraw the plan and refuse clients. outOpen: let them in again.
	outShut
	outOpen
	// outGone: nothing is left; the endpoint closes.
	outGone
)

type output struct {
	kind   outputKind
	worker takeover.WorkerID
	epoch  uint64
	reason Reason
	late   bool
}
