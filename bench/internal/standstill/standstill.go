// Package standstill records when the machine itself stood still: a virtual machine is at times not run by its host,
// and what a benchmark measures then is the host.
package standstill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/role"
)

// Role is the role under which a binary must be able to play Main.
const Role = "standstill"

// Span is a stretch of time, in ns of CLOCK_MONOTONIC.
type Span struct{ From, To int64 }

// Watch is a process with a thread on each core, at a real-time priority above everything that a benchmark runs, that
// sleeps and wakes in turn. Where all of them miss their time together, no core ran anything.
type Watch struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Scanner
}

// Start starts it, and returns when it watches. It fails where real-time priority is not permitted.
func Start(ctx context.Context) (*Watch, error) {
	cmd := role.Command(ctx, Role)
	// Its goroutines sleep in the kernel and find a processor of the Go scheduler free when they wake.
	cmd.Env = append(cmd.Env, "GOGC=off", "GOMAXPROCS="+strconv.Itoa(cores()+1))
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("standstill: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("standstill: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("standstill: %w", err)
	}
	w := &Watch{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	if !w.out.Scan() {
		in.Close()
		return nil, errors.Join(errors.New("standstill: the watch does not begin"), cmd.Wait())
	}
	return w, nil
}

// Stop ends the watch and returns the spans, in their order.
func (w *Watch) Stop() ([]Span, error) {
	w.in.Close()
	var spans []Span
	for w.out.Scan() {
		var s Span
		if _, err := fmt.Sscan(w.out.Text(), &s.From, &s.To); err != nil {
			return nil, errors.Join(fmt.Errorf("standstill: %q: %w", w.out.Text(), err), w.cmd.Wait())
		}
		spans = append(spans, s)
	}
	if err := w.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("standstill: %w", err)
	}
	return spans, nil
}

// Within is how much of the span from one time to another stood still.
func Within(spans []Span, from, to int64) time.Duration {
	var sum time.Duration
	for _, s := range spans {
		sum += time.Duration(max(0, min(to, s.To)-max(from, s.From)))
	}
	return sum
}

// Now is the time of spans.
func Now() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail: the clock exists and t is ours
	return t.Nano()
}

// Main is the role. It watches until the end of its standard input and then prints what it saw.
func Main() error {
	over := make(chan struct{})
	threads := make([]*thread, 0, cores())
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	for cpu := 0; len(threads) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			threads = append(threads, newThread(cpu))
		}
	}
	for _, t := range threads {
		go t.run(over)
	}
	for _, t := range threads {
		if err := <-t.begun; err != nil {
			return err
		}
	}
	if _, err := os.Stdout.Write([]byte{'\n'}); err != nil {
		return err
	}
	role.AwaitEnd()
	close(over)
	together := []Span{{0, Now()}}
	for _, t := range threads {
		<-t.ended
		if t.dropped > 0 {
			return fmt.Errorf("core %d stood still %d times more than can be kept", t.cpu, t.dropped)
		}
		together = intersect(together, t.spans)
	}
	for _, s := range together {
		fmt.Println(s.From, s.To)
	}
	return nil
}

func cores() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 1
	}
	return set.Count()
}

// intersect returns what is in both; each is in its order.
func intersect(a, b []Span) []Span {
	var both []Span
	for len(a) > 0 && len(b) > 0 {
		if s := (Span{max(a[0].From, b[0].From), min(a[0].To, b[0].To)}); s.From < s.To {
			both = append(both, s)
		}
		if a[0].To < b[0].To {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}
