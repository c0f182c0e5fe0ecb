package heir

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// death is how long after the kill each one knew.
type death struct {
	pidfd, unix, tcp, freed time.Duration
}

// die kills a worker that serves two connections.
func die(t testing.TB, s spec) (d death) {
	t.Helper()
	w := supervise(t, s)
	u, c := connect(t, w.unixAddr), connect(t, w.tcpAddr)
	pidfd, unix, tcp := make(chan time.Time, 1), make(chan time.Time, 1), make(chan time.Time, 1)
	go func() { pidfd <- w.died() }()
	go func() { unix <- u.cut() }()
	go func() { tcp <- c.cut() }()
	at := w.kill()
	for _, x := range []struct {
		from chan time.Time
		to   *time.Duration
	}{{pidfd, &d.pidfd}, {unix, &d.unix}, {tcp, &d.tcp}} {
		seen := <-x.from
		require.False(t, seen.IsZero(), "connection still open")
		*x.to = seen.Sub(at)
	}
	_, h := w.bury()
	d.freed = time.Since(at)
	require.Equal(t, ended{}, h)
	return d
}

// TestDeathIsSeenAtOnce compares deaths with and without an heir in one run.
func TestDeathIsSeenAtOnce(t *testing.T) {
	for _, c := range []struct {
		ballast int // MB
		busy    int // threads
		kills   int
		faster  float64 // at least; 0: only that it works
	}{{0, 0, 9, 0}, {256, 0, 9, 5}, {1024, 0, 5, 5}, {256, 50, 5, 0}} {
		t.Run(fmt.Sprintf("%dMB %d busy", c.ballast, c.busy), func(t *testing.T) {
			var with, without []death
			for range c.kills {
				with = append(with, die(t, spec{Heir: true, Ballast: c.ballast, Busy: c.busy}))
				without = append(without, die(t, spec{Ballast: c.ballast, Busy: c.busy}))
			}
			for _, what := range []struct {
				name string
				of   func(death) time.Duration
			}{
				{"pidfd", func(d death) time.Duration { return d.pidfd }},
				{"unix client", func(d death) time.Duration { return d.unix }},
				{"tcp client", func(d death) time.Duration { return d.tcp }},
			} {
				a, b := median(with, what.of), median(without, what.of)
				t.Logf("%-11s with heir %8v, without %8v", what.name, a, b)
				assert.Greater(t, float64(b), c.faster*float64(a), what.name)
			}
		})
	}
}

func median(ds []death, of func(death) time.Duration) time.Duration {
	all := make([]time.Duration, len(ds))
	for i, d := range ds {
		all[i] = of(d)
	}
	slices.Sort(all)
	return all[len(all)/2].Round(time.Microsecond)
}
