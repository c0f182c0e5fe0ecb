package standstill

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"understudy/bench/internal/role"
)

// hog keeps every core to itself for hogged, above the watch.
const (
	hog    = "hog"
	hogged = 20 * time.Millisecond
)

func TestMain(m *testing.M) {
	role.Play(role.Roles{Role: Main, hog: hogMain})
	goleak.VerifyTestMain(m)
}

func hogMain() error {
	done := make(chan error)
	var here atomic.Int64
	for cpu := range runtime.NumCPU() {
		go func() {
			runtime.LockOSThread()
			var set unix.CPUSet
			set.Set(cpu)
			err := unix.SchedSetaffinity(0, &set)
			if err == nil {
				err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: priority + 1}, 0)
			}
			// They begin together. Who waits sleeps: spinning it would keep
			// the others from their start.
			here.Add(1)
			for pause := unix.NsecToTimespec(int64(100 * time.Microsecond)); here.Load() < int64(runtime.NumCPU()); {
				_ = unix.Nanosleep(&pause, nil)
			}
			for end := time.Now().Add(2 * hogged); time.Now().Before(end); {
			}
			done <- err
		}()
	}
	for range runtime.NumCPU() {
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

func TestSeesThatNothingRan(t *testing.T) {
	w, err := Start(t.Context())
	if err != nil {
		t.Skipf("real-time priority is not permitted: %v", err)
	}
	from := Now()
	cmd := role.Command(t.Context(), hog)
	cmd.Stdout = os.Stderr
	require.NoError(t, cmd.Run())
	to := Now()
	spans, err := w.Stop()
	require.NoError(t, err)
	require.Greater(t, Within(spans, from, to), hogged/2, "%v", spans)
	require.LessOrEqual(t, Within(spans, from, to), time.Duration(to-from))
	require.Zero(t, Within(spans, 0, 1))
}

func TestSpansInBoth(t *testing.T) {
	a := []Span{{0, 10}, {20, 30}, {40, 50}}
	require.Equal(t, []Span{{5, 10}, {20, 22}, {45, 50}}, intersect(a, []Span{{5, 22}, {45, 60}}))
	require.Empty(t, intersect(a, []Span{{10, 20}, {30, 40}}))
	require.Equal(t, 7*time.Nanosecond, Within(a, 8, 25))
}
