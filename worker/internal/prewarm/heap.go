package prewarm

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// heapChunk is how much memory the runtime takes for the heap at a time, aligned
// (pallocChunkBytes in the runtime).
const heapChunk = 4 << 20

// populateHeap makes the pages resident into which the heap of a small process
// grows next. Without it the first requests take a page fault for each.
func populateHeap() {
	// Where the chunk is not all the heap's, or before Linux 5.14, nothing is
	// gained.
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
