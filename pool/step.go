package pool

import (
	"errors"
	"fmt"
	"time"
)

// step is the whole life of a worker: what was, what happened, what follows.
func step(l life, in input) (life, []output) {
	s := stepper{life: l}
	switch l.process {
	case unmade:
		s.whileUnmade(in)
	case running:
		s.whileRunning(in)
	case reaped:
		s.whenReaped(in)
	}
	return s.life, s.out
}

// stepper gathers what follows from one input.
type stepper struct {
	life
	out []output
}

func (s *stepper) do(kind outputKind) { s.out = append(s.out, output{kind: kind}) }

func (s *stepper) whileUnmade(in input) {
	switch in.kind {
	case inUnmade:
		s.blame(in.cause)
		s.process = over
		s.do(outStartOver)
		s.state = Failed
		s.do(outEnded)
		s.do(outStartFailed)
	case inRunning:
		s.process, s.state = running, Warming
		if in.cause.Kind != "" {
			s.blame(in.cause)
			s.step = StepSpawn
			s.kill()
			return
		}
		s.set(timerStart, s.limits.start)
		s.do(outStarted)
	}
}

func (s *stepper) whileRunning(in input) {
	switch in.kind {
	case inReady:
		switch {
		case s.state == Draining: // too late
		case s.state != Warming || s.ready:
			s.fail(CauseProtocol, errors.New("said ready twice"))
		case !s.killed:
			s.ready = true
			if in.heir != 0 {
				s.out = append(s.out, output{kind: outHeir, heir: in.heir})
			}
			s.ask()
		}
	case inAnswer:
		s.answer(in)
	case inFatal:
		first := s.cause.Kind == ""
		s.blame(in.cause)
		if first && !s.ending() {
			s.set(timerExit, s.limits.grace)
		}
	case inLost:
		switch {
		case s.ending():
		case in.closed: // a dying worker closes it too
			s.set(timerControl, controlGrace)
			s.do(outUnnoticed)
		default:
			s.fail(in.cause.Kind, in.cause.Err)
		}
	case inTimer:
		if t := s.timers[in.timer]; t.serial == in.serial && t.serial != 0 && !t.fired {
			s.timeOver(in)
		}
	case inJudge:
		if t := s.timers[in.timer]; t.serial == in.serial && t.serial != 0 && t.fired {
			s.timers[in.timer] = timing{}
			s.judge(in.timer)
		}
	case inRetire:
		if s.state == Standby && !s.withdrawing && !s.killed {
			s.withdrawing = true
			s.do(outWithdraw)
		}
	case inWithdrawn:
		asked := s.withdrawing
		s.withdrawing = false
		if asked && in.ok && s.state == Standby {
			s.stop(in.now, s.limits.grace)
		}
	case inActivated:
		s.activated()
	case inStop:
		s.stop(in.now, in.grace)
	case inFail:
		s.fail(in.cause.Kind, in.cause.Err)
	case inEngineLost:
		if s.state == Standby || s.state == Warming && s.warm { // asked already, by an engine that is gone too
			s.state, s.withdrawing = Warming, false
			if !s.killed {
				s.drop(timerProbe, timerNext)
				s.set(timerStart, s.limits.probe)
				s.ask()
			}
		}
	case inNotTaken:
		if s.state == Standby && !s.withdrawing && !s.killed {
			s.do(outOffer)
		}
	case inReassert:
		switch {
		case s.state != Standby || s.killed:
		case s.withdrawing: // the engine's answer may have been lost
			s.out = append(s.out, output{kind: outWithdraw, again: true})
		default:
			s.out = append(s.out, output{kind: outOffer, again: true})
		}
	case inSeenDead:
		if s.seenDead { // the last pass saw it too: nobody will tell
			s.do(outReap)
		}
		s.seenDead = true
	case inExited:
		s.exited(in.young)
	}
}

// whenReaped takes the last words of a worker that is dead.
func (s *stepper) whenReaped(in input) {
	switch in.kind {
	case inFatal:
		s.blame(in.cause)
	case inLost:
		if !in.closed && s.state != Terminated {
			s.blame(in.cause)
		}
	case inSilent:
		s.process = over
		if !s.warm {
			s.do(outStartOver)
		}
		failed := s.state == Warming && !s.warm
		if s.state == Warming {
			s.state = Failed
		}
		s.do(outEnded)
		if failed {
			s.do(outStartFailed)
		}
	}
}

// timeOver deals with a timer. One that blames a worker waits until whatever has
// come from it is read: where the supervisor was held up, answers and timers
// are due at once, in any order.
func (s *stepper) timeOver(in input) {
	switch in.timer {
	case timerStart, timerProbe:
		s.timers[in.timer].fired = true
		s.out = append(s.out, output{kind: outCatchUp, timer: in.timer, serial: in.serial})
		return
	}
	s.timers[in.timer] = timing{}
	switch in.timer {
	case timerNext:
		s.ask()
	case timerControl:
		if in.dead { // and the engine does not tell
			s.do(outUnmute)
		} else {
			s.fail(CauseProtocol, errors.New("control socket closed by a living worker"))
		}
	case timerExit:
		s.fail(s.cause.Kind, s.cause.Err)
	case timerGrace:
		s.do(outLate)
		s.blame(Cause{Kind: CauseGrace})
		s.kill()
	}
}

// judge ends a worker that was given its time and did not use it.
func (s *stepper) judge(t timer) {
	hung := fmt.Errorf("no answer to a probe within %v", s.limits.probe)
	switch {
	case t == timerStart && s.warm:
		s.fail(CauseHung, hung)
	case t == timerStart:
		s.fail(CauseStartTimeout, fmt.Errorf("not ready within %v", s.limits.start))
	default:
		s.healthy = false
		if s.missed++; s.state == Active && s.missed < s.limits.failures {
			s.ask()
			return
		}
		s.fail(CauseHung, hung)
	}
}

// answer takes the answer to a probe. One to an earlier probe counts for
// nothing.
func (s *stepper) answer(in input) {
	if !s.asked || in.id != s.probe {
		return
	}
	s.asked, s.missed = false, 0
	s.drop(timerProbe)
	switch {
	case s.ending() || s.cause.Kind != "":
		return
	case in.cause.Err != nil:
		s.fail(CauseUnhealthy, in.cause.Err)
		return
	}
	s.healthy = true
	if s.limits.interval > 0 {
		s.set(timerNext, s.limits.interval)
	}
	if s.state != Warming {
		return
	}
	s.drop(timerStart)
	s.state = Standby
	if !s.warm {
		s.warm = true
		s.do(outStartOver)
	}
	s.do(outOffer)
	s.do(outReady)
}

// ask sends a probe. While the worker warms up, its start is what is bounded.
func (s *stepper) ask() {
	s.probe++
	s.asked = true
	s.out = append(s.out, output{kind: outProbe, id: s.probe})
	if s.state != Warming {
		s.set(timerProbe, s.limits.probe)
	}
}

func (s *stepper) activated() {
	if s.state == Draining {
		return // it was told to stop, and does
	}
	s.drop(timerStart) // of a new engine's question, where its word comes before its answer
	s.state, s.withdrawing = Active, false
	if s.killed {
		return
	}
	if s.asked && s.timers[timerProbe].serial == 0 {
		s.set(timerProbe, s.limits.probe)
	}
	// The engine tells of its death, when the first millisecond of its successor
	// is over. The reaper would wake us in it.
	s.do(outMute)
}

// stop asks a worker to stop, and kills it when its grace is over. A later time
// than was said before counts for nothing.
func (s *stepper) stop(now time.Time, grace time.Duration) {
	s.do(outUnmute) // nobody takes over
	if s.killed {
		return
	}
	first, active := s.state != Draining, s.state == Active
	if first {
		s.state, s.withdrawing, s.asked = Draining, false, false
		s.drop(timerStart, timerProbe, timerNext, timerControl, timerExit)
	}
	if grace <= 0 {
		s.stopBy = now
		s.blame(Cause{Kind: CauseForced})
		s.kill()
		return
	}
	by := now.Add(grace)
	if !first && !by.Before(s.stopBy) {
		return
	}
	s.stopBy = by
	s.set(timerGrace, grace)
	switch {
	case !first:
	case active:
		s.out = append(s.out, output{kind: outDrain, after: grace})
	default:
		s.do(outRetire)
	}
}

// fail ends a worker that did not do its part. The first failure counts.
func (s *stepper) fail(kind CauseKind, err error) {
	if s.killed {
		return
	}
	s.blame(Cause{Kind: kind, Err: err})
	s.healthy = false
	s.out = append(s.out, output{kind: outFailing})
	if s.state == Standby || s.state == Active {
		s.do(outCondemn)
	}
	s.kill() // the engine does it too, and quicker; this is for the case that it is gone
}

// blame notes why a worker ends, where nothing is known yet.
func (s *stepper) blame(c Cause) {
	if s.cause.Kind == "" {
		s.cause, s.step = c, s.at()
	}
}

func (s *stepper) kill() {
	s.killed, s.healthy, s.asked = true, false, false
	s.dropAll()
	s.do(outKill)
}

func (s *stepper) exited(young bool) {
	s.process, s.healthy, s.asked, s.withdrawing = reaped, false, false, false
	s.dropAll()
	was := s.state
	switch was {
	case Draining:
		s.state = Terminated
	case Standby, Active:
		s.state = Failed
	}
	if was == Standby && young { // one that was well for a while is replaced at once
		s.do(outBlock)
	}
	s.do(outExited)
	if was == Standby { // what follows from an active one's comes with Activated or Demand
		s.do(outFill)
	}
}
