package worker

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

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
	populateHeap()
}
