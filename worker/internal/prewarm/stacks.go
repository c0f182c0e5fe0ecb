package prewarm

import (
	"context"
	"runtime"
)

const (
	// firstStack is how large the stacks of the next goroutines are to be, in
	// bytes; the runtime rounds up to a power of two. A gRPC server's goroutines
	// would grow theirs from 2 KiB to 8 and 16, by copying, which takes a tenth
	// of the time of the first answers.
	firstStack = 9 << 10
	// mostGoroutines bounds the stack that this takes. A process with more
	// goroutines gets smaller first stacks.
	mostGoroutines = 64
	// ownGoroutines is about how many the runtime has for itself: they are in
	// the average, but not in runtime.NumGoroutine.
	ownGoroutines = 8
)

// preferDeepStacks collects garbage, so that the first requests need not, and
// makes new goroutines begin with firstStack, until ctx ends or until the first
// collection after the call of leave.
//
// A goroutine begins with the average stack use that the last collection found
// (gcComputeStartingStackSize in the runtime). So one goroutine waits far down
// its stack. An idle process has a collection every two minutes.
func preferDeepStacks(ctx context.Context) (leave func()) {
	ctx, leave = context.WithCancel(ctx)
	collected := make(chan struct{})
	goroutines := min(runtime.NumGoroutine(), mostGoroutines) + ownGoroutines
	go waitDeep(goroutines*firstStack/len(step{}), collected, ctx.Done())
	<-collected
	return leave
}

// step is how much stack one step of waitDeep takes.
type step [1 << 10]byte

// waitDeep goes that many steps down its stack, collects garbage, and waits.
//
//go:noinline
func waitDeep(steps int, collected chan<- struct{}, until <-chan struct{}) (touched byte) {
	var s step
	s[steps%len(s)] = 1
	if steps > 0 {
		touched = waitDeep(steps-1, collected, until)
	} else {
		runtime.GC()
		close(collected)
		<-until
	}
	return touched + s[(steps*7)%len(s)]
}
