package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/standstill"
	"understudy/patterns/dsp/chain"
)

// result is what a take amounts to; it is written as JSON, times in nanoseconds.
type result struct {
	Load           string
	BallastMB      int
	Spares         int
	Lookahead      int
	HostScheduling string
	Blocks         int
	Kills          []kill
	// Dropouts are the blocks that missed their deadline: a listener hears silence instead.
	Dropouts int
	// Watched says that it was recorded when no core of the machine ran anything: Stops times, LongestStop at most. Of the
	// dropouts, Stopped would have been none without.
	Watched        bool
	Stops, Stopped int
	LongestStop    time.Duration
	// Different are the samples that came back and are not, to the last bit, those of an uninterrupted run.
	Different int
	// Waited are the blocks that could not be handed in at their time.
	Waited int
	// Latency is the time from when a block was due to be handed in until it was back: the median and so on.
	P50, P95, P99, P999, Max time.Duration
	// Worst is how much later than its deadline the latest block was; below zero is earlier.
	Worst time.Duration
	// Needed is the look-ahead in blocks with which nothing had been late.
	Needed int
}

// judge fills in a result, and makes silence of what was late in the take.
func (r *result) judge(t *take, want []chain.Block, stops []standstill.Span) {
	r.HostScheduling, r.Blocks, r.Waited = t.scheduling, len(t.out), t.waited
	took := make([]time.Duration, len(t.out))
	allowed := due(r.Lookahead + 1)
	for n := range t.out {
		for i := range t.out[n] {
			if math.Float32bits(t.out[n][i]) != math.Float32bits(want[n][i]) {
				r.Different++
			}
		}
		took[n] = t.back[n] - due(n)
		late := took[n] > allowed
		if late {
			r.Dropouts++
			if took[n]-standstill.Within(stops, t.beganAt+int64(due(n)), t.beganAt+int64(t.back[n])) <= allowed {
				r.Stopped++
			}
			t.out[n] = chain.Block{}
		}
		for i := len(r.Kills) - 1; i >= 0; i-- {
			if k := &r.Kills[i]; k.At <= t.back[n] { // the last kill before it came back
				if k.Worst = max(k.Worst, took[n]); late {
					k.Late++
				}
				break
			}
		}
	}
	for _, s := range stops {
		r.Stops++
		r.LongestStop = max(r.LongestStop, time.Duration(s.To-s.From))
	}
	slices.Sort(took)
	q := func(p float64) time.Duration { return took[min(len(took)-1, int(p*float64(len(took))))] }
	r.P50, r.P95, r.P99, r.P999, r.Max = q(0.5), q(0.95), q(0.99), q(0.999), took[len(took)-1]
	r.Worst = r.Max - allowed
	for due(r.Needed+1) < r.Max {
		r.Needed++
	}
}

func (r *result) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d MB ballast, %d spares, look-ahead of %d blocks: %d kills in %d blocks (%.0f s), host thread %s\n",
		r.Load, r.BallastMB, r.Spares, r.Lookahead, len(r.Kills), r.Blocks, due(r.Blocks).Seconds(), r.HostScheduling)
	fmt.Fprintf(w, "  dropouts: %d    samples that differ: %d of %d    blocks handed in late: %d\n", r.Dropouts, r.Different, r.Blocks*chain.Samples, r.Waited)
	if r.Watched {
		fmt.Fprintf(w, "  no core of the machine ran anything %d times, %s ms at most: %d of the dropouts\n", r.Stops, ms(r.LongestStop), r.Stopped)
	} else {
		fmt.Fprintln(w, "  whether the machine itself stood still was not recorded: real-time priority is not permitted")
	}
	fmt.Fprintf(w, "  block latency, ms: p50 %s  p95 %s  p99 %s  p99.9 %s  max %s    worst lateness, ms: %s\n",
		ms(r.P50), ms(r.P95), ms(r.P99), ms(r.P999), ms(r.Max), ms(r.Worst))
	bySignal := map[string][]time.Duration{}
	for _, k := range r.Kills {
		bySignal[k.Signal] = append(bySignal[k.Signal], k.Worst)
	}
	for _, sig := range ways {
		if worst := bySignal[unix.SignalName(sig)]; len(worst) > 0 {
			slices.Sort(worst)
			fmt.Fprintf(w, "  %s: %d kills, worst block of each, ms: median %s, max %s\n",
				unix.SignalName(sig), len(worst), ms(worst[len(worst)/2]), ms(worst[len(worst)-1]))
		}
	}
	if bare, late := r.bare(); bare > 0 && r.Spares > 0 {
		fmt.Fprintf(w, "  no standby was ready at %d kills: cold restarts, with %d of the dropouts\n", bare, late)
	}
	if r.Dropouts > 0 {
		fmt.Fprintf(w, "  a look-ahead of %d blocks (%s ms) would have had no dropout\n", r.Needed, ms(due(r.Needed)))
	}
}

// bare counts the kills at which no standby was ready, and the dropouts after them.
func (r *result) bare() (kills, late int) {
	for _, k := range r.Kills {
		if k.Standbys == 0 {
			kills++
			late += k.Late
		}
	}
	return kills, late
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
