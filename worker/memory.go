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

// populateHeap has the pages there into which a small heap grows next: the
// first requests would take a fault for each, and where the kernel has to get
// the page from a hypervisor, a slow one. The runtime knows nothing of what is
// resident, so it gives back first what it would give back later. A heap of this
// size is a row of chunks, which begins anywhere.
func populateHeap() {
	const (
		chunk = 4 << 20 // pallocChunkBytes of the runtime
		most  = 16 << 20
	)
	here := make([]byte, os.Getpagesize()) // of no constant size, so on the heap
	first := uintptr(unsafe.Pointer(unsafe.SliceData(here))) &^ (chunk - 1)
	populate := func(at uintptr) bool {
		// It fails before Linux 5.14, and where the chunk is not mapped whole.
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, at, chunk, unix.MADV_POPULATE_WRITE)
		return errno == 0
	}
	size := heapSize()
	if size > most || !populate(first) {
		return
	}
	debug.FreeOSMemory()
	populate(first)
	// Rounded up: what the runtime has of the heap for itself is not in the size.
	others := (size+chunk-1)/chunk - 1
	for at := first - chunk; others > 0 && populate(at); at -= chunk {
		others--
	}
	for at := first + chunk; others > 0 && populate(at); at += chunk {
		others--
	}
	runtime.KeepAlive(here)
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
