package takeover

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// silenceTime is how long the engine keeps to itself what a failover led
	// to. Telling it wakes the supervisor, and through it the proxies, all on
	// the processors where the standby and its first clients have about a
	// millisecond of work: whoever was connected to the dead worker learns of
	// it from the worker's heir.
	silenceTime = 2 * time.Millisecond
	// maxMuted bounds how many exits are kept back at once; more are told.
	maxMuted = 256
)

// silence is the time after a failover in which nothing is told. It begins
// with the first one, is made no longer by those that follow, and ends early
// when there is something for which the supervisor has to act.
type silence struct {
	timer int
	on    bool
	muted []int // processes whose exits wait, too
}

func newSilence() (silence, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	return silence{timer: timer, muted: make([]int, 0, maxMuted)}, err
}

// hush begins the silence after the failover of a worker with this pid, whose
// exit waits for its end.
func (e *engine) hush(pid int) {
	if len(e.silence.muted) == maxMuted {
		return
	}
	if !e.silence.on {
		end := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(silenceTime))}
		if unix.TimerfdSettime(e.silence.timer, 0, &end, nil) != nil {
			return
		}
		e.silence.on = true
	}
	if e.sentinel.Mute(pid) {
		e.silence.muted = append(e.silence.muted, pid)
	}
}

// speak ends the silence; the next flush tells everything.
func (e *engine) speak() {
	e.silence.on = false
	for _, pid := range e.silence.muted {
		e.sentinel.Unmute(pid)
	}
	e.silence.muted = e.silence.muted[:0]
}

func (e *engine) onSilenceEnds() {
	var expirations [8]byte
	if _, err := unix.Read(e.silence.timer, expirations[:]); err != nil {
		return // set anew since
	}
	e.speak()
	e.flush()
}
