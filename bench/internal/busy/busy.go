// Package busy keeps cores busy: the background load of a benchmark.
package busy

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"

	"understudy/bench/internal/role"
)

// Role is the role under which a binary must be able to play Main.
const Role = "busy"

// The loads of the machine under which benchmarks measure: nothing else, or every
// core computes.
const (
	Idle = "idle"
	Busy = "busy"
)

// Load is processes that do nothing but compute.
type Load struct {
	burners []burner
}

type burner struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// Start starts n processes of ordinary priority, each of which would keep a
// core busy by itself, and returns when all of them compute.
func Start(ctx context.Context, n int) (*Load, error) {
	l := &Load{}
	for range n {
		cmd := role.Command(ctx, Role)
		cmd.Env = append(cmd.Env, "GOMAXPROCS=1", "GOGC=off")
		in, err := cmd.StdinPipe()
		if err != nil {
			l.Stop()
			return nil, fmt.Errorf("busy: %w", err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			l.Stop()
			return nil, fmt.Errorf("busy: %w", err)
		}
		if err := cmd.Start(); err != nil {
			l.Stop()
			return nil, fmt.Errorf("busy: %w", err)
		}
		l.burners = append(l.burners, burner{cmd, in})
		if _, err := out.Read(make([]byte, 1)); err != nil {
			l.Stop()
			return nil, fmt.Errorf("busy: process does not begin: %w", err)
		}
	}
	return l, nil
}

// Under runs f under a load.
func Under(ctx context.Context, load string, f func() error) error {
	if load != Busy {
		return f()
	}
	l, err := Start(ctx, runtime.NumCPU())
	if err != nil {
		return err
	}
	defer l.Stop()
	return f()
}

// Stop ends them. It may be called on nil, and twice.
func (l *Load) Stop() {
	if l == nil {
		return
	}
	for _, b := range l.burners {
		b.stdin.Close()
		_ = b.cmd.Process.Kill()
		_ = b.cmd.Wait() // killed, and that is all it can say
	}
	l.burners = nil
}

// Main is the role. It ends with its standard input.
func Main() error {
	var over atomic.Bool
	go func() {
		role.AwaitEnd()
		over.Store(true)
	}()
	if _, err := os.Stdout.Write([]byte{'\n'}); err != nil {
		return err
	}
	for !over.Load() {
	}
	return nil
}
