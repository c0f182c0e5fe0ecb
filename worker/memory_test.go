package worker

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
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

// The heap that has grown in a rehearsal is resident whole, and stays so: the
// runtime has nothing more to give back.
func TestHeapIsPopulated(t *testing.T) {
	const grown = 5 << 20 // more than one chunk
	var held [][]byte
	for range grown / 1024 {
		held = append(held, make([]byte, 1024))
	}
	require.GreaterOrEqual(t, heapSize(), uint64(grown))
	runtime.KeepAlive(held)
	held = nil
	populateHeap()
	here := make([]byte, os.Getpagesize())
	require.Less(t, heapSize(), uint64(16<<20), "this test is about small heaps")
	missing := func() int {
		size, resident := residence(t, uintptr(unsafe.Pointer(unsafe.SliceData(here))))
		return size - resident
	}
	require.Zero(t, missing(), "KiB are not there")
	require.Never(t, func() bool { return missing() > 0 }, 300*time.Millisecond, 50*time.Millisecond)
	runtime.KeepAlive(here)
}

// residence returns the size of the mapping at an address, and how much of it
// is resident, in KiB (proc_pid_smaps(5)).
func residence(t *testing.T, at uintptr) (size, resident int) {
	b, err := os.ReadFile("/proc/self/smaps")
	require.NoError(t, err)
	found := false
	for line := range strings.Lines(string(b)) {
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			found = from <= at && at < to
		}
		if found {
			_, _ = fmt.Sscanf(line, "Size: %d kB", &size)
			if n, _ := fmt.Sscanf(line, "Rss: %d kB", &resident); n == 1 {
				return size, resident
			}
		}
	}
	t.Fatalf("%#x is in no mapping", at)
	return 0, 0
}
