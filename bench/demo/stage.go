package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"understudy/bench/internal/daemon"
	"understudy/patterns/echo/echov1"
	understudyv1 "understudy/proto/understudy/v1"
)

// deathTimeout is how long the next worker and the next standby may take.
const deathTimeout = 20 * time.Second

// stage is a running understudyd and its events.
type stage struct {
	*daemon.Daemon
	events grpc.ServerStreamingClient[understudyv1.Event]
}

func start(ctx context.Context, program, patterns, dir string) (*stage, error) {
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%w (run `make build` first)", err)
	}
	d, err := daemon.Start(ctx, daemon.Config{Program: program, Dir: dir, Patterns: patterns, Pattern: daemon.Pattern{Name: "echo"}})
	if err != nil {
		return nil, err
	}
	events, err := d.Supervisor().WatchEvents(ctx, &understudyv1.WatchEventsRequest{})
	if err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return &stage{d, events}, nil
}

// launch binds a namespace and starts its client.
func (s *stage) launch(ctx context.Context, namespace string) (*tenant, error) {
	processID, address, err := s.Launch(ctx, namespace)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", namespace, err)
	}
	return startTenant(ctx, processID, address)
}

// kill ends the tenant's worker and waits for the next to answer and for the
// pool to be full again; the gap is what the client saw.
func (s *stage) kill(ctx context.Context, t *tenant, how string, sig unix.Signal, way echov1.CrashWay) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, deathTimeout)
	defer cancel()
	before := t.last()
	t.beginGap()
	if sig != 0 {
		if _, err := s.Supervisor().SignalWorker(ctx, &understudyv1.SignalWorkerRequest{ProcessId: t.processID, Signal: int32(sig)}); err != nil {
			return 0, err
		}
	} else {
		t.crash(ctx, way)
	}
	after, gap, err := t.waitForOther(ctx, before.Pid)
	if err != nil {
		return 0, fmt.Errorf("after %s: %w; understudyd's log ends:\n%s", how, err, s.Log())
	}
	facts, err := s.settled(ctx, t.processID)
	if err != nil {
		return 0, fmt.Errorf("after %s: %w", how, err)
	}
	fmt.Printf("  %-21s %-8d %-7s -> %-8d %-6d %6s µs   %9s\n", how, before.Pid, facts["cause"], after.Pid, after.Epoch, facts["activate_us"], ms(gap))
	return gap, nil
}

// settled waits for the failover's event and for a standby behind it.
func (s *stage) settled(ctx context.Context, processID string) (map[string]string, error) {
	for {
		e, err := s.events.Recv()
		if err != nil {
			return nil, fmt.Errorf("events: %w", err)
		}
		if e.Kind == "failover" && e.ProcessId == processID {
			return e.Facts, s.AwaitSpare(ctx)
		}
	}
}
