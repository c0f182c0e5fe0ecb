//go:build linux && (amd64 || arm64)

package heir

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// loadTime is how long the worker works.
const loadTime = 3 * time.Second

// TestWorkerIsUndisturbed: seconds of everything the Go runtime does neither
// harm the worker nor wake the heir.
func TestWorkerIsUndisturbed(t *testing.T) {
	w := supervise(t, spec{Heir: true, Do: "load"})
	assert.Equal(t, "fffffffffffbfeff", status(t, w.heir, "SigBlk"), "all but SIGKILL and SIGSTOP")
	assert.Equal(t, "0000000000000000", status(t, w.heir, "SigPnd"))
	assert.Equal(t, "0000000000000000", status(t, w.heir, "ShdPnd"))
	assert.Contains(t, status(t, w.heir, "State"), "S (sleeping)")
	assert.Equal(t, "1", status(t, w.heir, "voluntary_ctxt_switches"), "the heir has been awake")
	c := connect(t, w.unixAddr)
	w.kill()
	require.False(t, c.cut().IsZero())
	_, h := w.bury()
	assert.Equal(t, ended{}, h)
}

// runLoad keeps scheduler, collector and signal handlers of the worker busy
// and checks their work.
func runLoad() error {
	ctx, cancel := context.WithTimeout(context.Background(), loadTime)
	defer cancel()
	var all sync.WaitGroup
	var wrong atomic.Int64
	want := sha256.Sum256(pattern(1 << 10))
	for range 4 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for ctx.Err() == nil {
				if sha256.Sum256(pattern(1<<10)) != want {
					wrong.Add(1)
				}
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			runtime.GC()
		}
	})
	// What the runtime sends its threads to preempt them, and more of it.
	all.Go(func() {
		for ctx.Err() == nil {
			if unix.Kill(unix.Getpid(), unix.SIGURG) != nil {
				wrong.Add(1)
			}
		}
	})
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, unix.SIGUSR1)
	defer signal.Stop(usr1)
	handled := 0
	for ctx.Err() == nil {
		if err := unix.Kill(unix.Getpid(), unix.SIGUSR1); err != nil {
			return err
		}
		select {
		case <-usr1:
			handled++
		case <-time.After(patience):
			return fmt.Errorf("signal %d lost", handled)
		}
	}
	all.Wait()
	if wrong.Load() != 0 || handled == 0 {
		return fmt.Errorf("%d wrong results, %d signals", wrong.Load(), handled)
	}
	return nil
}

// pattern returns n bytes from the heap.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
