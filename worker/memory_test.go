package worker

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
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
	leave := preferDeepStacks(t.Context(), runtime.GC)
	require.GreaterOrEqual(t, firstStackNow(), uint64(8<<10))
	runtime.GC()
	require.GreaterOrEqual(t, firstStackNow(), uint64(8<<10))
	leave()
	require.Eventually(t, func() bool {
		runtime.GC()
		return firstStackNow() < 8<<10
	}, 30*time.Second, time.Millisecond)
}

// heapOnly in the environment has TestHeapIsPopulated be the process whose heap
// is looked at: it is as large as it ever was, and small.
const heapOnly = "WORKER_TEST_HEAP"

// The heap that has grown in a rehearsal is resident whole.
func TestHeapIsPopulated(t *testing.T) {
	page := make([]byte, 2*os.Getpagesize())
	own := uintptr(unsafe.Pointer(unsafe.SliceData(page)))&^uintptr(os.Getpagesize()-1) + uintptr(os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, own, 1, unix.MADV_POPULATE_WRITE); errno != 0 {
		t.Skipf("MADV_POPULATE_WRITE: %v; it came with Linux 5.14", errno)
	}
	if os.Getenv(heapOnly) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestHeapIsPopulated$", "-test.v")
		cmd.Env = append(os.Environ(), heapOnly+"=1")
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestHeapIsPopulated")
		return
	}
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
	require.LessOrEqual(t, heapSize(), uint64(smallHeap), "this test is about small heaps")
	size, resident := residence(t, uintptr(unsafe.Pointer(unsafe.SliceData(here))))
	require.Equal(t, size, resident, "KiB are there")
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
