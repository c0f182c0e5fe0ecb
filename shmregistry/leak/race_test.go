package leak

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Others open and close the objects by name all the time while they are being
// removed: they get a whole object or none, and no other error.
func TestOpenersBesideRemoval(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	const n = 100
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("make %s%s%d 4096", shm, p, i))
	}
	w := script(t, lines...)
	b.Watch(w.pid, Remove)
	w.ready()
	b.Reconcile()

	var opened, nameless atomic.Int64
	var gone sync.WaitGroup
	failures := make(chan error, n)
	for opener := range 2 {
		gone.Go(func() {
			left := map[int]bool{}
			for i := opener; i < n; i += 2 {
				left[i] = true
			}
			for len(left) > 0 {
				for i := range left {
					fd, err := unix.Open(fmt.Sprint(shm, p, i), unix.O_RDWR|unix.O_CLOEXEC, 0)
					if errors.Is(err, unix.ENOENT) {
						delete(left, i)
						continue
					}
					if err != nil {
						failures <- err
						return
					}
					var st unix.Stat_t
					if err := unix.Fstat(fd, &st); err != nil || st.Size != 4096 {
						failures <- fmt.Errorf("size %d: %w", st.Size, err)
					}
					unix.Close(fd)
					opened.Add(1)
					if st.Nlink == 0 {
						nameless.Add(1)
					}
				}
			}
		})
	}
	w.kill()
	b.Ended(w.pid)
	removed := map[string]bool{}
	deadline := time.After(20 * time.Second)
	for len(removed) < n {
		select {
		case f := <-b.findings:
			if f.Action == Removed {
				removed[f.Name] = true
			}
		case <-deadline:
			require.Failf(t, "not removed", "%d of %d", len(removed), n)
		default:
			b.Reconcile() // the openers are in this process: their closes are no events
		}
	}
	gone.Wait()
	require.Empty(t, failures)
	require.Empty(t, names(t, p))
	t.Logf("%d opens, %d of an object whose name went just then", opened.Load(), nameless.Load())
}

// What a watch costs the caller.
func BenchmarkWatchAndEnded(b *testing.B) {
	bed := newBed(b, nil)
	w := script(b, ";")
	w.ready()
	for b.Loop() {
		bed.Watch(w.pid, Remove)
		bed.Ended(w.pid)
	}
	b.StopTimer()
	bed.Reconcile()
}

// From Ended to the removal of one object, its worker being gone.
func BenchmarkRemoval(b *testing.B) {
	bed := newBed(b, nil)
	p := prefix(b)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		w := script(b, "touch "+shm+p+fmt.Sprint(i))
		bed.Watch(w.pid, Remove)
		w.ready()
		w.kill()
		b.StartTimer()
		bed.Ended(w.pid)
		if f := <-bed.findings; f.Action != Removed {
			b.Fatalf("%+v", f)
		}
	}
}

// What an object of a foreign program in the same directory costs in all: made,
// closed, removed, and the finder's part.
func BenchmarkForeign(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("finder=%t", with), func(b *testing.B) {
			p := prefix(b)
			var bed *bed
			if with {
				bed = newBed(b, nil)
			}
			for b.Loop() {
				fd, err := unix.Open(shm+p+"x", unix.O_RDWR|unix.O_CREAT, 0o600)
				if err != nil {
					b.Fatal(err)
				}
				unix.Close(fd)
				_ = unix.Unlink(shm + p + "x")
			}
			if bed != nil {
				bed.Reconcile()
			}
		})
	}
}
