package worker

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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
	// smallHeap is what a small heap has mapped at most, in bytes.
	smallHeap = 16 << 20
)

// preferDeepStacks collects garbage, so that this does not fall into the first
// requests, and has new goroutines begin with firstStack, until ctx ends or the
// first collection after the call of leave. collect is the collection, or more. What they begin with is the average
// use of the stacks that were found in the last collection (runtime,
// gcComputeStartingStackSize), so one goroutine waits far down its stack; an
// idle process has a collection every two minutes.
func preferDeepStacks(ctx context.Context, collect func()) (leave func()) {
	ctx, leave = context.WithCancel(ctx)
	collected := make(chan struct{})
	goroutines := min(runtime.NumGoroutine(), mostGoroutines) + ownGoroutines
	go waitDeep(goroutines*firstStack/len(step{}), func() {
		collect()
		close(collected)
		<-ctx.Done()
	})
	<-collected
	return leave
}

// step is what one step of waitDeep takes of the stack.
type step [1 << 10]byte

// waitDeep calls wait from that many steps down its stack.
//
//go:noinline
func waitDeep(steps int, wait func()) (touched byte) {
	var s step
	s[steps%len(s)] = 1
	if steps > 0 {
		touched = waitDeep(steps-1, wait)
	} else {
		wait()
	}
	return touched + s[(steps*7)%len(s)]
}

// populateHeap collects garbage and has the pages there into which a small heap
// grows next: the first requests would take a fault for each. The runtime knows
// nothing of what is resident, so it gives back first what it would give back
// in the first milliseconds of service.
//
// It takes memory for the heap in aligned chunks. Those of a small heap are
// neighbours; all are populated, so a heap that was as large as smallHeap once
// keeps as much. Of a larger one it is only the chunk that is in use now.
func populateHeap() {
	const chunk = 4 << 20                  // pallocChunkBytes of the runtime
	here := make([]byte, os.Getpagesize()) // of no constant size, so on the heap
	first := uintptr(unsafe.Pointer(unsafe.SliceData(here))) &^ (chunk - 1)
	populate := func(at uintptr) bool {
		// It fails before Linux 5.14, and where the chunk is not mapped whole.
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, at, chunk, unix.MADV_POPULATE_WRITE)
		return errno == 0
	}
	defer runtime.KeepAlive(here)
	size := heapSize()
	// Nothing is given back that could not be fetched again.
	if !populate(first) || size > smallHeap {
		runtime.GC()
		return
	}
	debug.FreeOSMemory() // one collection, like runtime.GC
	populate(first)
	// Rounded up: what the runtime has of the heap for itself is not in the size.
	others := (size+chunk-1)/chunk - 1
	for at := first - chunk; others > 0 && populate(at); at -= chunk {
		others--
	}
	for at := first + chunk; others > 0 && populate(at); at += chunk {
		others--
	}
}

// heapSize is how much memory the heap has mapped, in bytes; a part of it may
// not be resident.
func heapSize() (size uint64) {
	all := []metrics.Sample{
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(all)
	for _, s := range all {
		size += s.Value.Uint64()
	}
	return size
}
