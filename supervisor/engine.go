package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"understudy/internal/event"
	"understudy/sentinel"
	"understudy/takeover"
)

const (
	// helloTimeout bounds the start of the takeover engine, its probes of the
	// kernel included: it must do when the machine is busiest, at its start.
	helloTimeout = 30 * time.Second
	// helloLook is the time between two looks whether it was stopped meanwhile.
	helloLook = 100 * time.Millisecond
	// engineRestartMin and engineRestartMax keep an engine that cannot live from
	// spinning. Without one nothing fails over, so it is never long. One that
	// lived for engineLife is replaced at once.
	engineRestartMin = 10 * time.Millisecond
	engineRestartMax = 250 * time.Millisecond
	engineLife       = 10 * time.Second
)

// startEngine starts an engine and waits until it answers a ping, before which
// comes its Hello. Events go to the loop.
func (s *Supervisor) startEngine() (*takeover.Client, error) {
	ready := make(chan struct{})
	answered := false // the handler's alone
	client, err := takeover.Start(takeover.Options{
		Exe:      s.cfg.SentinelExe,
		Realtime: s.cfg.Sentinel.Realtime,
		Source:   s.cfg.Sentinel.Source,
		Pace:     s.cfg.Pace,
		Asked:    s.expectEngine,
	}, func(e takeover.Event) {
		switch {
		case e.Kind == takeover.Hello:
			var features []sentinel.Feature
			_ = json.Unmarshal(e.Features, &features) // the same binary wrote it
			s.features.Store(&features)
		case e.Kind == takeover.Pong && !answered:
			answered = true
			close(ready)
		default:
			_ = s.loop.Post(func() { s.handleEngine(e) })
		}
	})
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(helloTimeout)
	defer late.Stop()
	look := time.NewTicker(helloLook)
	defer look.Stop()
	_ = client.Ping()
	for {
		select {
		case <-ready:
			return client, nil
		case <-client.Done():
			return nil, fmt.Errorf("takeover engine ended at its start: %w", errors.Join(client.Close(), errors.New("no hello")))
		case <-look.C:
			if client.Pid() == os.Getpid() || !states(client.Pid()).stopped {
				_ = client.Ping() // a word may be lost
				continue
			}
			err = errors.New("takeover engine was stopped at its start")
		case <-late.C:
			err = fmt.Errorf("takeover engine did not start within %v", helloTimeout)
		}
		client.Kill()
		client.Close()
		return nil, err
	}
}

func (s *Supervisor) handleEngine(e takeover.Event) {
	s.heard++
	if e.Dropped > s.lastDropped {
		s.engineDropped.Add(e.Dropped - s.lastDropped)
		s.lastDropped = e.Dropped
	}
	switch e.Kind {
	case takeover.Pong:
		s.pongs = min(s.pongs+1, s.pings) // some were asked for at its start
	case takeover.Repaired:
		s.repaired("the engine had lost a standby or a plan")
	default:
		s.manager.HandleEngine(e)
	}
}

// keepEngine starts another engine when one has ended, and tells it
// everything. In between, deaths are noticed by nobody but the reaper, and the
// bindings they hit fail over when the new engine knows of them.
func (s *Supervisor) keepEngine(ctx context.Context, client *takeover.Client) error {
	var pause time.Duration
	var tell sparingly
	for {
		begun := time.Now()
		select {
		case <-ctx.Done():
			return client.Close()
		case <-client.Done():
		}
		err := client.Close()
		pause = restartPause(pause, time.Since(begun))
		if untold, ok := tell.now(time.Now()); ok {
			s.log.Error("takeover engine ended; starting another", "pid", client.Pid(), "error", err, "in", pause, "untold", untold)
			s.events(event.Event{Time: time.Now(), Kind: event.SentinelExited, Pid: client.Pid(),
				Message: fmt.Sprintf("takeover engine ended (%v); starting another", err)})
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			if client, err = s.startEngine(); err == nil {
				break
			}
			pause = restartPause(pause, 0)
			if untold, ok := tell.now(time.Now()); ok {
				s.log.Error("takeover engine does not start", "error", err, "again_in", pause, "untold", untold)
			}
		}
		current := client
		_ = s.loop.Post(func() {
			s.engine = current
			s.pings, s.pongs, s.lastDropped = 0, 0, 0
			s.manager.Reconnect(current)
		})
	}
}

// restartPause is how long to wait before the next engine, after one that lived
// for some time and was itself started after a pause.
func restartPause(before, lived time.Duration) time.Duration {
	if lived > engineLife {
		return 0
	}
	return min(max(2*before, engineRestartMin), engineRestartMax)
}

// sparingly bounds how often the same is told: tellBurst times in a row, then
// once every tellPause, until it was quiet for as long.
type sparingly struct {
	last   time.Time // that it happened
	told   time.Time
	row    int
	untold int
}

const (
	tellBurst = 20
	tellPause = 10 * time.Second
)

// now reports whether to tell what has happened now, and how many times it
// happened untold before.
func (s *sparingly) now(t time.Time) (untold int, tell bool) {
	if t.Sub(s.last) >= tellPause {
		s.row = 0
	}
	s.last = t
	s.row++
	if s.row > tellBurst && t.Sub(s.told) < tellPause {
		s.untold++
		return 0, false
	}
	untold, s.untold, s.told = s.untold, 0, t
	return untold, true
}
