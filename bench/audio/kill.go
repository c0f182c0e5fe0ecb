package main

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/daemon"
)

const (
	// between is the time from one kill to the next, give or take jitter: nothing may depend on where in a block it is.
	between = time.Second
	jitter  = 50 * time.Millisecond
)

// ways are the ways to die.
var ways = []unix.Signal{unix.SIGKILL, unix.SIGSEGV, unix.SIGABRT, unix.SIGBUS, unix.SIGTERM}

// kill is one death.
type kill struct {
	// At is when the signal was asked for, from the beginning of the music, and Took how long the answer took.
	At, Took time.Duration
	Signal   string
	PID      int
	// Standbys is how many workers stood by just before.
	Standbys int
	// Worst is the longest time that a block took which was due until the next kill.
	Worst time.Duration
	// Late is the number of those blocks that missed their deadline.
	Late int
}

// killer kills the active worker every second, from a second after the beginning on.
func killer(ctx context.Context, d *daemon.Daemon, processID string, begun time.Time, n int) ([]kill, error) {
	var kills []kill
	for i := range n {
		at := begun.Add(time.Duration(i+1)*between + rand.N(2*jitter) - jitter)
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return kills, context.Cause(ctx)
		}
		standbys, err := d.Standbys(ctx)
		if err != nil {
			return kills, err
		}
		sig := ways[rand.IntN(len(ways))]
		k := kill{Standbys: standbys, At: time.Since(begun), Signal: unix.SignalName(sig)}
		pid, err := d.Signal(ctx, processID, sig)
		if err != nil {
			return kills, err
		}
		k.PID, k.Took = pid, time.Since(begun)-k.At
		kills = append(kills, k)
	}
	return kills, nil
}
