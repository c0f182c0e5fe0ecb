package pool

import "time"

// timer names what a worker is given time for.
type timer uint8

const (
	// timerStart: to become a standby, or to answer a new engine's question.
	timerStart timer = iota
	// timerProbe: to answer the probe that is under way.
	timerProbe
	// timerNext: until the next probe.
	timerNext
	// timerControl: to be seen dead, after its end of the control socket closed.
	timerControl
	// timerExit: to exit, after it gave up.
	timerExit
	// timerGrace: to stop.
	timerGrace
	timerCount
)

// timing is one timer of a worker. The zero value is not set.
type timing struct {
	// serial tells this setting from others; 0: not set.
	serial uint32
	// fired: its time is over, and what the worker said meanwhile is being read.
	fired bool
}

// set sets a timer, in the place of the one that it may have.
func (s *stepper) set(t timer, after time.Duration) {
	s.serial++
	s.timers[t] = timing{serial: s.serial}
	s.out = append(s.out, output{kind: outSet, timer: t, serial: s.serial, after: after})
}

func (s *stepper) drop(timers ...timer) {
	for _, t := range timers {
		if s.timers[t].serial != 0 {
			s.timers[t] = timing{}
			s.out = append(s.out, output{kind: outDrop, timer: t})
		}
	}
}

func (s *stepper) dropAll() {
	s.drop(timerStart, timerProbe, timerNext, timerControl, timerExit, timerGrace)
}
