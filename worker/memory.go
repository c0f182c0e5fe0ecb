package worker

import (
	"context"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The memory of the first answers: what a standby has ready so that it is not
// fetched page by page, and copied from stack to stack, while clients wait.

const (
	// firstStack is how large the stacks of the next goroutines are to be, in
	// bytes; the runtime rounds up to a power of two. A gRPC server's goroutines
	// would grow theirs from 2 KiB to 8 and 16, by copying, which takes a tenth
	// of the time of the first answers.
	firstStack = 9 << 10
	// mostGoroutines bounds what that takes. A process that has more of them
	// gets smaller stacks.
	mostGoroutines = 64
	// ownGoroutines is about how many the runtime has for itself: they are in
	// the average, but not in runtime.NumGoroutine.
	ownGoroutines = 8
)

// preferDeepStacks collects garbage, so that this does not fall into the first
// requests, and has new goroutines begin with firstStack, until ctx ends or the
// first collection after the call of leave. What they begin with is the average
// use of the stacks that were found in the last collection (runtime,
// gcComputeStartingStackSize), so one goroutine waits far down its stack; an
// idle process has a collection every two minutes.
func preferDeepStacks(ctx context.Context) (leave func()) {
	ctx, leave = context.WithCancel(ctx)
	collected := make(chan struct{})
	goroutines := min(runtime.NumGoroutine(), mostGoroutines) + ownGoroutines
	go waitDeep(goroutines*firstStack/len(step{}), collected, ctx.Done())
	<-collected
	return leave
}

// step is what one step of waitDeep takes of the stack.
type step [1 << 10]byte

// waitDeep collects garbage from that many steps down its stack, and waits there.
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

// heapChunk is how much memory the runtime takes for the heap at a time, aligned
// (pallocChunkBytes).
const heapChunk = 4 << 20

// populateHeap has the pages there into which the heap of a small process grows
// next: the first requests would take a fault for each. The runtime knows
// nothing of what is resident.
func populateHeap() {
	// Where the chunk is not ours whole, or before Linux 5.14, nothing is gained.
	_ = populateAround(make([]byte, os.Getpagesize())) // of no constant size, so on the heap
}

// populateAround populates the chunk of the heap that something is in.
func populateAround(here []byte) error {
	defer runtime.KeepAlive(here)
	start := uintptr(unsafe.Pointer(unsafe.SliceData(here))) &^ (heapChunk - 1)
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, heapChunk, unix.MADV_POPULATE_WRITE); errno != 0 {
		return os.NewSyscallError("madvise", errno)
	}
	return nil
}
