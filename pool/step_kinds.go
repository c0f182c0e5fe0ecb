package pool

import "time"

// inputKind is what happened to a worker.
type inputKind uint8

const (
	// inUnmade: there is no process, for the reason in cause.
	inUnmade inputKind = iota
	// inRunning: the process runs. With a cause, it cannot be kept.
	inRunning
	// inReady: it says that it is ready.
	inReady
	// inAnswer: it answers probe id; cause.Err says what is wrong with it.
	inAnswer
	// inFatal: it says that it gives up, and why.
	inFatal
	// inLost: its connection ended: closed, or for the reason in cause.
	inLost
	// inTimer: a timer's time is over.
	inTimer
	// inJudge: everything that had come by then has been handled.
	inJudge
	// inRetire: it is one standby too many.
	inRetire
	// inWithdrawn: the engine gave it back, if ok.
	inWithdrawn
	// inActivated: the engine gave it to a binding.
	inActivated
	// inStop: it is to stop within grace, from now on.
	inStop
	// inFail: it did not do its part.
	inFail
	// inEngineLost: a new engine knows nothing of it.
	inEngineLost
	// inNotTaken: the engine did not take what it was told of it.
	inNotTaken
	// inReassert: the engine may have forgotten it.
	inReassert
	// inSeenDead: a reconcile pass finds its process dead.
	inSeenDead
	// inExited: it was reaped. young: it had not been a standby for long.
	inExited
	// inSilent: its last words are read.
	inSilent
)

type input struct {
	kind   inputKind
	cause  Cause
	id     uint64
	heir   int // with inReady
	timer  timer
	serial uint32
	ok     bool
	closed bool // with inLost: it was closed, and broke no rule
	dead   bool // with inTimer: its process has ended
	young  bool
	now    time.Time
	grace  time.Duration
}

// outputKind is what is to be done.
type outputKind uint8

const (
	// outStarted: make it known to the engine, and listen to it.
	outStarted outputKind = iota
	// outHeir: it has an exit helper.
	outHeir
	outProbe
	// outSet sets a timer, instead of the one that it may have; outDrop drops it.
	outSet
	outDrop
	// outCatchUp: pass on whatever it has said; inJudge after that.
	outCatchUp
	// outStartOver: its start is over, well or not.
	outStartOver
	// outOffer offers it to the engine, outWithdraw asks for it; again: repeated.
	outOffer
	outWithdraw
	// outFailing tells that it is being ended, and why.
	outFailing
	outCondemn
	outKill
	// outMute: its exit waits for the engine's word. outUnmute: it does no more.
	outMute
	outUnmute
	// outDrain asks an active worker to stop, outRetire another.
	outDrain
	outRetire
	// outLate: it did not stop in its time.
	outLate
	// outBlock: its pattern's starts wait a while.
	outBlock

	// What follows tells others, who may do something to this worker in turn: it
	// comes last.

	// outUnnoticed: it seems to be dying, and the engine may not know.
	outUnnoticed
	// outReady: it is a standby.
	outReady
	// outReap: it is dead, and nobody has told.
	outReap
	outExited
	outFill
	// outEnded: nothing is left of it.
	outEnded
	// outStartFailed: it never was a standby.
	outStartFailed
)

type output struct {
	kind   outputKind
	id     uint64
	heir   int
	timer  timer
	serial uint32
	after  time.Duration
	again  bool
}
