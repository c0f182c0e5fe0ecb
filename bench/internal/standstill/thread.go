package standstill

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	// priority is above what else runs in real time here: sentinel, workers and hosts of benchmarks.
	priority = 90
	// nap is between two looks, and a span is what took patience longer; both in ns.
	nap      = 500_000
	patience = 500_000
	// most bounds the spans of a core.
	most = 1 << 16
)

// thread watches one core.
type thread struct {
	cpu     int
	begun   chan error
	ended   chan struct{}
	spans   []Span
	dropped int
}

func newThread(cpu int) *thread {
	return &thread{cpu: cpu, begun: make(chan error, 1), ended: make(chan struct{}), spans: make([]Span, 0, most)}
}

func (t *thread) run(over <-chan struct{}) {
	defer close(t.ended)
	runtime.LockOSThread() // it ends with the goroutine
	var set unix.CPUSet
	set.Set(t.cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.begun <- fmt.Errorf("core %d: %w", t.cpu, err)
		return
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: priority}, 0); err != nil {
		t.begun <- fmt.Errorf("SCHED_FIFO: %w; needs CAP_SYS_NICE or RLIMIT_RTPRIO", err)
		return
	}
	t.begun <- nil
	for last := Now(); ; {
		select {
		case <-over:
			return
		default:
		}
		sleep := unix.NsecToTimespec(nap)
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &sleep, nil) // cut short by a signal, it looks a bit earlier
		now := Now()
		if now-last > nap+patience {
			if len(t.spans) < most {
				t.spans = append(t.spans, Span{last + nap, now})
			} else {
				t.dropped++
			}
		}
		last = now
	}
}
