package main

import (
	"errors"
	"fmt"
	"time"

	"understudy/bench/internal/standstill"
	"understudy/patterns/dsp/blocks"
	"understudy/patterns/dsp/chain"
	"understudy/patterns/dsp/realtime"
	"understudy/shmregistry/segment"
)

// lastWait is how long after the last hand-over the host waits for what has not come back.
const lastWait = 30 * time.Second

// due is when block n begins, from the beginning of the music.
func due(n int) time.Duration {
	return time.Duration(n) * chain.Frames * time.Second / chain.Rate
}

// take is what the host recorded. A take of n blocks is allocated before it begins.
type take struct {
	begun time.Time
	// beganAt is the same in standstill's time.
	beganAt int64
	// scheduling is what the host's thread ran at.
	scheduling string
	// out are the blocks that came back, and back when, from begun on; 0 is never.
	out  []chain.Block
	back []time.Duration
	// waited counts the blocks that could not be handed in at their time because the ring was full.
	waited int
}

func newTake(n int) *take {
	return &take{out: make([]chain.Block, n), back: make([]time.Duration, n)}
}

// play hands block after block in when it is due, and takes what comes back, on a thread of its own. Between the two
// it sleeps in the kernel, on the commits of the worker and until the next block is due at most.
func (t *take) play(shared *blocks.Shared, music []chain.Block, begin func(time.Time)) error {
	over := make(chan error, 1)
	go func() { // its thread ends with it
		t.scheduling = realtime.Lock(true)
		over <- t.loop(shared, music, begin)
	}()
	return <-over
}

func (t *take) loop(shared *blocks.Shared, music []chain.Block, begin func(time.Time)) error {
	in, out := 0, 0
	t.begun, t.beganAt = time.Now(), standstill.Now()
	begin(t.begun)
	for {
		commits := shared.Commits()
		committed, err := shared.Committed()
		if err != nil {
			return err
		}
		now := time.Since(t.begun)
		if committed > uint64(in) {
			return fmt.Errorf("%d blocks are done, only %d were handed in", committed, in)
		}
		for ; out < int(committed); out++ {
			t.out[out], t.back[out] = *shared.Out(uint64(out)), now
		}
		if out == len(t.out) {
			return nil
		}
		for in < len(t.out) && due(in) <= now && in-out < blocks.Ring {
			if due(in+1) <= now {
				t.waited++
			}
			*shared.In(uint64(in)) = music[in%len(music)]
			in++
			shared.HandIn(uint64(in))
		}
		wait := lastWait
		if in < len(t.out) && in-out < blocks.Ring {
			wait = max(0, due(in)-time.Since(t.begun))
		}
		if err := shared.AwaitCommit(commits, wait); err != nil {
			if !errors.Is(err, segment.ErrTimeout) {
				return err
			}
			if wait == lastWait {
				return fmt.Errorf("block %d does not come back within %v", out, lastWait)
			}
		}
	}
}
