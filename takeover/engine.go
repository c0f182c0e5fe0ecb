package takeover

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/pace"
	"understudy/sentinel"
)

// engine carries out what state decides. Every method runs on the sentinel's
// thread; nothing is locked.
type engine struct {
	state    *state
	sentinel *sentinel.Sentinel
	pace     pace.Switches
	socket   int
	workers  map[WorkerID]*handles
	in       []byte
	oob      []byte
	forks    forkKiller
	reports  reports
	delay    reportDelay
	retries  retryTimer
	monitor  sentinel.Feature // how the process itself runs; no name if it is not ours
}

// Serve runs the engine on the calling goroutine, whose thread becomes the
// sentinel's, until the supervisor's end of socket is closed. It owns socket.
func Serve(socket int, opts sentinel.Options) error { return serve(socket, opts, pace.Breather, nil) }

// serve holds reports back for delay, and calls still when the sentinel's probes are over, which wait by timers of
// their threads.
func serve(socket int, opts sentinel.Options, delay time.Duration, still func() sentinel.Feature) (err error) {
	defer unix.Close(socket)
	e := &engine{
		state:   newState(),
		pace:    opts.Pace,
		socket:  socket,
		workers: make(map[WorkerID]*handles),
		in:      make([]byte, maxCommand),
		oob:     make([]byte, unix.CmsgSpace(4*maxFDs)),
		forks:   newForkKiller(),
		reports: newReports(socket),
		delay:   reportDelay{timer: -1, length: delay},
		retries: retryTimer{timer: -1},
	}
	defer func() { e.close() }()
	opts.QuietFence = opts.Pace.On(pace.QuietFence) // nothing here waits for Fenced
	if e.delay.timer, err = newTimer(); err != nil {
		return err
	}
	if e.retries.timer, err = newTimer(); err != nil {
		return err
	}
	if e.sentinel, err = sentinel.New(opts); err != nil {
		return fmt.Errorf("takeover: %w", err)
	}
	if still != nil {
		e.monitor = still()
	}
	if err := errors.Join(
		e.sentinel.WatchFD(socket, e.onCommands),
		e.sentinel.WatchFD(e.delay.timer, e.onDelayEnds),
		e.sentinel.WatchFD(e.retries.timer, e.onRetry)); err != nil {
		return fmt.Errorf("takeover: watch the command socket and the timers: %w", err)
	}
	return e.sentinel.Run(e.hello)
}

func newTimer() (int, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("takeover: timerfd: %w", err)
	}
	return timer, nil
}

// expired takes a timer's expiration. It is false if the timer was set anew
// since it woke the thread.
func expired(timer int) bool {
	var expirations [8]byte
	_, err := unix.Read(timer, expirations[:])
	return err == nil
}

func (e *engine) hello() {
	ladder := e.sentinel.Status()
	if e.monitor.Name != "" {
		ladder = append(ladder, e.monitor)
	}
	features, _ := json.Marshal(ladder) // strings and booleans always encode
	e.post(Event{Kind: Hello, Features: features})
	e.flush()
}

func (e *engine) close() {
	for w := range e.workers {
		e.release(w)
	}
	for _, p := range e.state.plans {
		p.close()
	}
	for _, timer := range []int{e.delay.timer, e.retries.timer} {
		if timer >= 0 {
			unix.Close(timer)
		}
	}
}
