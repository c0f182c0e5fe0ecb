package route_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/patterns/echo/echov1"
	"understudy/route"
)

// Workers are killed, again and again, while clients call. Nobody gets an
// answer of an epoch that the table had left when the call began, calls in
// flight fail with UNAVAILABLE, and those that may be repeated do not fail.
func TestFailoverOfARealWorker(t *testing.T) {
	for name, more := range map[string]string{
		"heir": "",
		// The connections of these hang while 64 MiB are freed.
		"no heir": "heir: false\nconfig: {ballast_mb: \"64\"}",
	} {
		t.Run(name, func(t *testing.T) { failovers(t, newDaemon(t, more)) })
	}
}

func failovers(t *testing.T, d *daemon) {
	const kills = 15
	k := d.launch("acme")
	table := dialed(t, d.target())
	_, retrying := client(t, table, k, idempotent(t))
	cc, plain := client(t, table, k)
	connected(t, cc)

	ctx, stop := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	var answers, failures atomic.Int64
	call := func(c echov1.EchoClient, mayFail bool) {
		for ctx.Err() == nil {
			known := table.Lookup(k).Epoch
			r, err := c.Say(ctx, &echov1.SayRequest{})
			switch {
			case ctx.Err() != nil:
			case err == nil && r.Epoch < known:
				t.Errorf("an answer of epoch %d to a call at epoch %d", r.Epoch, known)
			case err == nil:
				answers.Add(1)
			case mayFail && status.Code(err) == codes.Unavailable:
				failures.Add(1)
			default:
				t.Errorf("retried %v: %v", !mayFail, err)
			}
			pause(ctx)
		}
	}
	callers.Go(func() { call(plain, true) })
	callers.Go(func() { call(retrying, false) })

	changes := table.Subscribe(k)
	defer changes.Close()
	r := <-changes.Updates()
	for range kills {
		d.full()
		before := r.Epoch
		require.Positive(t, r.Pid) // kill(2) means ourselves by 0
		require.NoError(t, unix.Kill(r.Pid, unix.SIGKILL))
		for r.Epoch == before {
			r = next(t, changes)
		}
		require.Equal(t, before+1, r.Epoch)
		require.NotZero(t, r.Death)
		epoch, err := say(t, retrying, "")
		require.NoError(t, err)
		require.Equal(t, r.Epoch, epoch, "the first answer after the update")
	}
	stop()
	callers.Wait()
	t.Logf("%d kills, %d answers, %d calls failed, %d connections cut", kills, answers.Load(), failures.Load(), table.Stats().Cut)
	require.Greater(t, answers.Load(), int64(kills))
	require.LessOrEqual(t, failures.Load(), int64(kills), "one call is in flight at a time, so one fails a kill")
}

// next is the next change of a route.
func next(t testing.TB, changes *route.Subscription) *route.Route {
	select {
	case r := <-changes.Updates():
		return r
	case <-time.After(patience):
		require.FailNow(t, "no other route")
		return nil
	}
}

// pause leaves the machine to others for a moment.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Microsecond):
	}
}

// BenchmarkFailover kills a worker and measures, from the moment at which the
// kernel saw the death, what a proxy sees: the call in flight ends, the next one
// is answered, and the table has the next route. Every other time the next call
// begins with the route instead.
func BenchmarkFailover(b *testing.B) {
	for _, bb := range []struct{ name, more string }{
		{"heir/0MB", ""},
		{"heir/256MB", "config: {ballast_mb: \"256\"}"},
		{"no heir/256MB", "heir: false\nconfig: {ballast_mb: \"256\"}"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			d := newDaemon(b, bb.more)
			k := d.launch("acme")
			table := dialed(b, d.target())
			cc, echo := client(b, table, k)
			connected(b, cc)
			changes := table.Subscribe(k)
			defer changes.Close()
			r := <-changes.Updates()
			var failed, updated, answered, between []time.Duration
			for n := 0; b.Loop(); n++ {
				d.full()
				before := r.Epoch
				calls := make(chan [2]int64, 1)
				go func() {
					_, _ = echo.Crash(within(b), &echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGKILL})
					ended := now()
					if n%2 == 0 {
						_, err := say(b, echo, "")
						assert.NoError(b, err)
					}
					calls <- [2]int64{ended, now()}
				}()
				for r.Epoch == before {
					r = next(b, changes)
				}
				updated = append(updated, time.Duration(now()-r.Death))
				if n%2 == 1 {
					begun := now()
					epoch, err := say(b, echo, "")
					require.NoError(b, err)
					require.Equal(b, r.Epoch, epoch)
					between = append(between, time.Duration(now()-begun))
				}
				call := <-calls
				failed = append(failed, time.Duration(call[0]-r.Death))
				if n%2 == 0 {
					answered = append(answered, time.Duration(call[1]-r.Death))
				}
			}
			for _, m := range []struct {
				what  string
				times []time.Duration
			}{{"death→failed", failed}, {"death→route", updated}, {"death→answer", answered}, {"route→answer", between}} {
				slices.Sort(m.times)
				b.ReportMetric(micro(m.times, 50), m.what+"-p50-µs")
				b.ReportMetric(micro(m.times, 95), m.what+"-p95-µs")
			}
			b.ReportMetric(float64(table.Stats().Cut)/float64(b.N), "cut/op")
		})
	}
}

// micro is a percentile of sorted times in microseconds.
func micro(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0 // a single kill
	}
	return float64(sorted[(len(sorted)-1)*percent/100].Nanoseconds()) / 1e3
}

// The table of a proxy that comes late knows everything at once.
func TestTableOfARealSupervisor(t *testing.T) {
	d := newDaemon(t, "")
	a, b := d.launch("a"), d.launch("b")
	table := dialed(t, d.target())
	require.Equal(t, 2, table.Stats().Routes)
	ra, rb := table.Lookup(a), table.Lookup(b)
	require.NotEqual(t, ra.Address, rb.Address)
	require.Equal(t, route.Active, ra.State)
	require.NotZero(t, ra.Pid)
	require.InDelta(t, float64(now()), float64(ra.Published), float64(patience))
	require.Same(t, ra, table.LookupID("ns:a:echo"))
}
