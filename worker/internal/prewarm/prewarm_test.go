package prewarm

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/pace"
)

// firstStackNow is what a new goroutine begins with, in bytes.
func firstStackNow() uint64 {
	s := []metrics.Sample{{Name: "/gc/stack/starting-size:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// New goroutines begin with deep stacks, also after further collections, until
// that is taken back.
func TestDeepStacksArePreferred(t *testing.T) {
	leave := preferDeepStacks(t.Context())
	require.GreaterOrEqual(t, firstStackNow(), uint64(8<<10))
	runtime.GC()
	require.GreaterOrEqual(t, firstStackNow(), uint64(8<<10))
	leave()
	require.Eventually(t, func() bool {
		runtime.GC()
		return firstStackNow() < 8<<10
	}, 30*time.Second, time.Millisecond)
}

// Each part can be turned off.
func TestSwitches(t *testing.T) {
	off, err := pace.Off(pace.DeepStacks, pace.PopulateHeap)
	require.NoError(t, err)
	runtime.GC()
	require.Less(t, firstStackNow(), uint64(8<<10), "before")
	Memory(t.Context(), off)()
	runtime.GC()
	require.Less(t, firstStackNow(), uint64(8<<10), "off")
	done := Memory(t.Context(), pace.Switches{})
	require.GreaterOrEqual(t, firstStackNow(), uint64(8<<10), "on")
	done()
}

// What the runtime gave back to the kernel is there again.
func TestHeapIsPopulated(t *testing.T) {
	here := make([]byte, os.Getpagesize())
	defer runtime.KeepAlive(here)
	debug.FreeOSMemory()
	err := populateAround(here)
	if errors.Is(err, unix.EINVAL) {
		t.Skipf("%v: MADV_POPULATE_WRITE came with Linux 5.14", err)
	}
	require.NoError(t, err)
	pages := make([]byte, heapChunk/os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.SliceData(here))) &^ (heapChunk - 1)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, start, heapChunk, uintptr(unsafe.Pointer(unsafe.SliceData(pages))))
	require.Zero(t, errno)
	resident := 0
	for _, p := range pages {
		resident += int(p & 1)
	}
	require.Equal(t, len(pages), resident)
}
