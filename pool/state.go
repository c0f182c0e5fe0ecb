package pool

import "time"

// State is where a worker stands in its life.
type State uint8

// The states of a worker, in their order; Failed can follow any of them.
const (
	// Starting: the process is being made.
	Starting State = iota
	// Warming: the process runs and has not passed its first probe yet; or a new
	// engine has it asked by a probe what it serves.
	Warming
	// Standby: warm, serves no key.
	Standby
	// Active: serves a key.
	Active
	// Draining: was asked to stop.
	Draining
	// Terminated: ended after it was asked to.
	Terminated
	// Failed: ended without having been asked to.
	Failed
)

var stateNames = [...]string{"starting", "warming", "standby", "active", "draining", "terminated", "failed"}

// String returns the state's name in lower case.
func (s State) String() string { return stateNames[s] }

// processState is how far a worker's process is.
type processState uint8

const (
	unmade processState = iota
	running
	// reaped: its status is taken; its last words may still be on their way.
	reaped
	// over: nothing of it is left, and nothing happens to it any more.
	over
)

// limits are a pattern's times and numbers, as far as a worker's life has to do
// with them.
type limits struct {
	start, grace, probe time.Duration
	interval            time.Duration // between probes; 0: one probe in a life
	failures            int           // missed probes in a row that end an active worker
}

// life is the part of a worker that decisions look at. Nothing in it is a
// clock, a descriptor or a process.
type life struct {
	limits  limits
	state   State
	process processState
	// cause is why it ends, as far as that is known, and step what it was at
	// then; the first reason counts. No kind: no reason yet.
	cause Cause
	step  Step
	// killed: SIGKILL was sent to it.
	killed bool
	// ready: it said that it is. warm: it was a standby, so its start is over.
	ready, warm bool
	// probe is the number of the newest probe. asked: its answer is awaited.
	probe uint64
	asked bool
	// missed are probes in a row without an answer.
	missed int
	// healthy: the newest probe was answered, and in time.
	healthy bool
	// withdrawing: the engine was asked to give it back.
	withdrawing bool
	// seenDead: a reconcile pass found it dead and not reaped.
	seenDead bool
	// stopBy is when it is killed; zero where it was not told to stop.
	stopBy time.Time
	timers [timerCount]timing
	serial uint32 // of the newest timer
}

// alive reports whether it has a process that is not reaped.
func (l *life) alive() bool { return l.process == running }

// ending reports whether its end is certain.
func (l *life) ending() bool { return l.killed || l.state == Draining }

// at is the step of a start that it is at.
func (l *life) at() Step {
	switch {
	case l.process == unmade:
		return StepSpawn
	case l.warm:
		return StepActivate
	case l.probe > 0:
		return StepProbe
	}
	return StepHandshake
}

// ended is its cause of death when it has ended, but for the status.
func (l *life) ended() Cause {
	c := l.cause
	if c.Kind == "" {
		c.Kind = CauseExit
		if l.state == Draining || l.state == Terminated {
			c.Kind = CauseStopped
		}
	}
	return c
}
