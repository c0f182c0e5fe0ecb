package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"understudy/internal/event"
	"understudy/sentinel"
	"understudy/takeover"
)

const (
	// helloTimeout bounds the start of the takeover engine, its probes of the
	// kernel included.
	helloTimeout = 10 * time.Second
	// engineRestartMin and engineRestartMax keep an engine that cannot live from
	// spinning; one that lived for engineLife is replaced at once.
	engineRestartMin = 100 * time.Millisecond
	engineRestartMax = 10 * time.Second
	engineLife       = 10 * time.Second
)

// startEngine starts an engine and waits for its Hello. Events go to the loop.
func (s *Supervisor) startEngine() (*takeover.Client, error) {
	hello := make(chan []sentinel.Feature, 1)
	client, err := takeover.Start(takeover.Options{
		Exe:      s.cfg.SentinelExe,
		Realtime: s.cfg.Sentinel.Realtime,
		Source:   s.cfg.Sentinel.Source,
		Pace:     s.cfg.Pace,
	}, func(e takeover.Event) {
		switch e.Kind {
		case takeover.Hello:
			var features []sentinel.Feature
			_ = json.Unmarshal(e.Features, &features) // the same binary wrote it
			hello <- features
		default:
			_ = s.loop.post(func() { s.handleEngine(e) })
		}
	})
	if err != nil {
		return nil, err
	}
	select {
	case features := <-hello:
		s.features.Store(&features)
		return client, nil
	case <-client.Done():
		return nil, fmt.Errorf("takeover engine ended at its start: %w", errors.Join(client.Close(), errors.New("no hello")))
	case <-time.After(helloTimeout):
		client.Close()
		return nil, fmt.Errorf("takeover engine did not start within %v", helloTimeout)
	}
}

func (s *Supervisor) handleEngine(e takeover.Event) {
	if e.Dropped > s.lastDropped {
		s.engineDropped.Add(e.Dropped - s.lastDropped)
		s.lastDropped = e.Dropped
	}
	switch e.Kind {
	case takeover.Pong:
		s.pongs++
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
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = engineRestartMin, engineRestartMax
	for {
		begun := time.Now()
		select {
		case <-ctx.Done():
			return client.Close()
		case <-client.Done():
		}
		err := client.Close()
		s.log.Error("takeover engine ended; starting another", "pid", client.Pid(), "error", err)
		s.events(event.Event{Time: time.Now(), Kind: event.SentinelExited, Pid: client.Pid(),
			Message: fmt.Sprintf("takeover engine ended (%v); starting another", err)})
		wait := time.Duration(0)
		if time.Since(begun) > engineLife {
			pause.Reset()
		} else {
			wait = pause.NextBackOff()
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			if client, err = s.startEngine(); err == nil {
				break
			}
			wait = pause.NextBackOff()
			s.log.Error("takeover engine does not start", "error", err, "again_in", wait)
		}
		current := client
		_ = s.loop.post(func() {
			s.engine = current
			s.pings, s.pongs, s.lastDropped = 0, 0, 0
			s.manager.Reconnect(current)
		})
	}
}
