package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/patterns/echo/echov1"
)

// tenant is a client that calls its worker again and again over one ordinary
// gRPC channel, and keeps account.
type tenant struct {
	processID, address string
	conn               *grpc.ClientConn
	echo               echov1.EchoClient
	cancel             context.CancelFunc
	done               chan struct{}

	mu       sync.Mutex
	answered *sync.Cond
	answer   *echov1.SayResponse
	at       time.Time
	gap      time.Duration // longest since beginGap
	longest  time.Duration
	sent     int
	failed   int
}

// pause between two calls: often enough to see a gap of a millisecond, and the
// machine is not busy with the client alone.
const pause = 500 * time.Microsecond

func startTenant(ctx context.Context, processID, address string) (*tenant, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		// The address never goes away, so trying again at once is right.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1.5, MaxDelay: 20 * time.Millisecond}}))
	if err != nil {
		return nil, err
	}
	t := &tenant{processID: processID, address: address, conn: conn, echo: echov1.NewEchoClient(conn), done: make(chan struct{})}
	t.answered = sync.NewCond(&t.mu)
	ctx, t.cancel = context.WithCancel(ctx)
	r, err := t.echo.Say(ctx, &echov1.SayRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.cancel()
		conn.Close()
		return nil, fmt.Errorf("%s does not answer: %w", processID, err)
	}
	t.answer, t.at = r, time.Now()
	go t.run(ctx)
	return t, nil
}

func (t *tenant) run(ctx context.Context) {
	defer close(t.done)
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// A call waits for a connection, but is never sent twice.
		call, cancel := context.WithTimeout(ctx, deathTimeout)
		r, err := t.echo.Say(call, &echov1.SayRequest{}, grpc.WaitForReady(true))
		cancel()
		if ctx.Err() != nil {
			return
		}
		t.record(r, err)
	}
}

func (t *tenant) record(r *echov1.SayResponse, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent++
	if err != nil {
		t.failed++
		return
	}
	now := time.Now()
	t.gap = max(t.gap, now.Sub(t.at))
	t.longest = max(t.longest, t.gap)
	t.answer, t.at = r, now
	t.answered.Broadcast()
}

func (t *tenant) last() *echov1.SayResponse {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answer
}

func (t *tenant) beginGap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gap = 0
}

// crash asks the worker to die. That call fails by its nature and is no part
// of the account.
func (t *tenant) crash(ctx context.Context, way echov1.CrashWay) {
	_, _ = t.echo.Crash(ctx, &echov1.CrashRequest{Way: way, ExitCode: 3})
}

// waitForOther waits for an answer of another process than pid.
func (t *tenant) waitForOther(ctx context.Context, pid int32) (*echov1.SayResponse, time.Duration, error) {
	stop := context.AfterFunc(ctx, t.answered.Broadcast)
	defer stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.answer.Pid == pid {
		if ctx.Err() != nil {
			return nil, 0, fmt.Errorf("no answer from another worker than pid %d: %w", pid, ctx.Err())
		}
		t.answered.Wait()
	}
	return t.answer, t.gap, nil
}

func (t *tenant) totals() (sent, failed int, longest time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent, t.failed, t.longest
}

func (t *tenant) stop() {
	t.cancel()
	<-t.done
	t.conn.Close()
}
