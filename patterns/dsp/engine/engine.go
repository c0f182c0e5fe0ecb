// Package engine is the audio thread of a dsp worker: it takes blocks from the input ring, runs the chain on them and
// commits, for as long as its epoch has the segments.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"understudy/patterns/dsp/blocks"
	"understudy/patterns/dsp/chain"
	"understudy/patterns/dsp/realtime"
	"understudy/shmregistry/segment"
)

// rehearsal is how many silent blocks are processed in advance: once around the delay line, a few milliseconds' work.
const rehearsal = chain.LineFrames / chain.Frames

// Engine is an audio thread that waits for its job.
type Engine struct {
	jobs chan job
	log  *slog.Logger
	busy atomic.Pointer[job] // nil before there is one
}

type job struct {
	shared *blocks.Shared
	epoch  uint64
	over   func(error)
}

// Start starts the thread, in real time where that is wanted and permitted, and has it rehearse. It returns when the
// thread is ready. A thread that gets no job ends with ctx.
func Start(ctx context.Context, inRealTime bool, log *slog.Logger) *Engine {
	e := &Engine{jobs: make(chan job), log: log}
	ready := make(chan string)
	go func() {
		scheduling := realtime.Lock(inRealTime)
		c := chain.New()
		rehearse(c)
		ready <- scheduling
		select {
		case j := <-e.jobs:
			j.over(e.run(c, j.shared, j.epoch))
		case <-ctx.Done():
		}
	}()
	log.Info("audio thread is ready", "scheduling", <-ready)
	return e
}

// Run gives the thread its job and returns at once. It goes on for as long as the process lives and no newer epoch has
// the segments; over is then called, on that thread, with an error that says why. It may be called once.
func (e *Engine) Run(shared *blocks.Shared, epoch uint64, over func(error)) {
	j := job{shared, epoch, over}
	e.jobs <- j
	e.busy.Store(&j)
}

// Check fails if blocks have been waiting for as long as that and none was done, which is how a thread that hangs looks.
func (e *Engine) Check(within time.Duration) error {
	j := e.busy.Load()
	if j == nil {
		return nil
	}
	first, err := j.shared.Committed()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(within); ; {
		commits := j.shared.Commits()
		done, err := j.shared.Committed()
		if err != nil {
			return err
		}
		// A count that cannot be is the host's mistake, and a successor would be no better.
		if ready, err := j.shared.Ready(done); err != nil || ready == 0 || done != first || j.shared.Epoch() > j.epoch {
			return nil
		}
		err = j.shared.AwaitCommit(commits, max(0, time.Until(deadline)))
		if errors.Is(err, segment.ErrTimeout) {
			return fmt.Errorf("audio: block %d waits for more than %v", done, within)
		}
		if err != nil {
			return err
		}
	}
}

// rehearse runs the chain on silence, so that its code and tables are in memory.
func rehearse(c *chain.Chain) {
	var state, next chain.State
	var in, out chain.Block
	line := chain.NewLine()
	for range rehearsal {
		c.Process(&next, &state, line, &out, &in)
		state = next
	}
}

// run processes blocks from the committed state on. It returns segment.ErrStale when it has been replaced. Between two
// blocks nothing is allocated, and nothing is logged but a count that cannot be, once for each; it waits for a better
// one then.
func (e *Engine) run(c *chain.Chain, shared *blocks.Shared, epoch uint64) error {
	cell, err := shared.Take(epoch)
	if err != nil {
		return err
	}
	line := shared.Line()
	state := cell.Current()
	var in, out chain.Block
	for {
		for {
			// A worker that has been replaced must not write, nor compute from a ring that has gone round meanwhile.
			if shared.Epoch() > epoch {
				return segment.ErrStale
			}
			written := shared.Written()
			ready, err := shared.Ready(state.Block)
			if ready > 0 {
				break
			}
			if err != nil {
				e.log.Error("audio waits for a better count", "epoch", epoch, "error", err)
			}
			if err := shared.AwaitInput(written); err != nil {
				return err
			}
		}
		// What is made of a copy, aside, is right however long it takes: a worker that is held up and replaced may find
		// another block in the ring's place afterwards.
		n := state.Block
		in = *shared.In(n)
		c.Process(cell.Next(), state, line, &out, &in)
		if shared.Epoch() > epoch {
			return segment.ErrStale
		}
		*shared.Out(n) = out
		if err := cell.Commit(); err != nil {
			return err
		}
		state = cell.Current()
	}
}

// Replaced reports whether an engine ended because a newer epoch has the segments, which is no failure of its own.
func Replaced(err error) bool { return errors.Is(err, segment.ErrStale) }
