//go:build linux && (amd64 || arm64)

package heir

import (
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// death is how long after the kill each one knew.
type death struct {
	pidfd, unix, tcp, pipe time.Duration
}

// die kills a worker that serves two connections and holds a pipe that no heir
// tracks.
func die(t testing.TB, s spec) (d death) {
	t.Helper()
	w := supervise(t, s)
	u, c := connect(t, w.unixAddr), connect(t, w.tcpAddr)
	pidfd, unix, tcp, pipe := make(chan time.Time, 1), make(chan time.Time, 1), make(chan time.Time, 1), make(chan time.Time, 1)
	go func() { pidfd <- w.died() }()
	go func() { unix <- u.cut() }()
	go func() { tcp <- c.cut() }()
	go func() { pipe <- eof(w.pipe) }()
	at := w.kill()
	for _, x := range []struct {
		from chan time.Time
		to   *time.Duration
	}{{pidfd, &d.pidfd}, {unix, &d.unix}, {tcp, &d.tcp}, {pipe, &d.pipe}} {
		seen := <-x.from
		require.False(t, seen.IsZero(), "still open")
		*x.to = seen.Sub(at)
	}
	_, h := w.bury()
	require.Equal(t, ended{}, h)
	return d
}

// eof waits for the end of a file and returns the time, or the zero time.
func eof(f *os.File) time.Time {
	if _, err := io.Copy(io.Discard, f); err != nil {
		return time.Time{}
	}
	return time.Now()
}

// TestDeathIsSeenAtOnce compares workers of several sizes with and without an
// heir, in one run: with an heir, memory may add to the time until the death is
// seen a fifth, at most, of what it adds without; give or take one death of a
// worker with no memory. It is the quickest of several deaths that counts: what
// else runs on the machine only adds to the others.
func TestDeathIsSeenAtOnce(t *testing.T) {
	const kills = 9
	var with, without [3][]death
	sizes := [3]int{0, 256, 1024} // MB; the first is what the others are compared with
	for range kills {
		for i, mb := range sizes {
			with[i] = append(with[i], die(t, spec{Heir: true, Ballast: mb}))
			without[i] = append(without[i], die(t, spec{Ballast: mb}))
		}
	}
	for _, what := range []struct {
		name string
		of   func(death) time.Duration
	}{
		{"pidfd", func(d death) time.Duration { return d.pidfd }},
		{"unix client", func(d death) time.Duration { return d.unix }},
		{"tcp client", func(d death) time.Duration { return d.tcp }},
		{"pipe", func(d death) time.Duration { return d.pipe }},
	} {
		for i, mb := range sizes {
			a, b := quickest(with[i], what.of), quickest(without[i], what.of)
			t.Logf("%-11s at %4d MB: with heir %8v, without %8v", what.name, mb, a, b)
			if i > 0 {
				a0, b0 := quickest(with[0], what.of), quickest(without[0], what.of)
				assert.Less(t, a-a0, (b-b0)/5+a0, "%s at %d MB", what.name, mb)
			}
		}
	}
}

// TestManyBusyThreads: every thread has to be scheduled once to die, which
// takes its time, but nothing waits for the memory.
func TestManyBusyThreads(t *testing.T) {
	for range 3 {
		die(t, spec{Heir: true, Ballast: 256, Busy: 50})
	}
}

func quickest(ds []death, of func(death) time.Duration) time.Duration {
	all := make([]time.Duration, len(ds))
	for i, d := range ds {
		all[i] = of(d)
	}
	return slices.Min(all).Round(time.Microsecond)
}
