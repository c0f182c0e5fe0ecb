// Command echo is the pattern that answers with what it was sent and who it
// is, and that dies in every way a process can. It is the one to learn from,
// to measure with and to break.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"understudy/patterns/echo/echov1"
	"understudy/patterns/internal/ballast"
	"understudy/worker"
	"understudy/worker/grpcworker"
)

func main() {
	e := &echo{}
	err := grpcworker.Run(context.Background(), grpcworker.Options{
		Warm:     e.warm,
		Register: func(s *grpc.Server) { echov1.RegisterEchoServer(s, e) },
		Probe: func(ctx context.Context, cc grpc.ClientConnInterface) error {
			_, err := echov1.NewEchoClient(cc).Say(ctx, &echov1.SayRequest{Payload: []byte("canary")})
			return err
		},
		Activate: e.activate,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

type echo struct {
	echov1.UnimplementedEchoServer
	assignment atomic.Pointer[worker.Assignment] // nil on standby
	ballast    ballast.Ballast
	// stuck is what CRASH_WAY_DEADLOCK takes and never gives back.
	stuck sync.RWMutex
}

// warm takes the time and the memory that the config asks for.
func (e *echo) warm(ctx context.Context, config map[string]string) error {
	ms, err := number(config, "warmup_ms")
	if err != nil {
		return err
	}
	busy := false
	if v, ok := config["warmup_busy"]; ok {
		if busy, err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("config warmup_busy: %q is not a bool", v)
		}
	}
	warm := time.Now().Add(time.Duration(ms) * time.Millisecond)
	if err := e.ballast.RaiseTo(config); err != nil {
		return err
	}
	for busy && time.Now().Before(warm) && ctx.Err() == nil {
	}
	select {
	case <-time.After(time.Until(warm)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// activate lets the config of a launch ask for more ballast than the
// manifest's. Other tenants' launches find it in place.
func (e *echo) activate(_ context.Context, a *worker.Assignment) error {
	e.assignment.Store(a)
	return e.ballast.RaiseTo(a.Config)
}

// number reads a whole number that is not negative, by default 0.
func number(config map[string]string, key string) (int, error) {
	v, ok := config[key]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("config %s: %q is not a whole number from 0 to %d", key, v, 1<<31-1)
	}
	return int(n), nil
}

// Say returns the payload and who answered.
func (e *echo) Say(_ context.Context, r *echov1.SayRequest) (*echov1.SayResponse, error) {
	e.stuck.RLock()
	defer e.stuck.RUnlock()
	answer := &echov1.SayResponse{Payload: r.Payload, Pid: int32(os.Getpid())}
	if a := e.assignment.Load(); a != nil {
		answer.ProcessId, answer.Epoch = a.ProcessID, a.Epoch
	}
	return answer, nil
}
