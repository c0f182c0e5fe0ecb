package route_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/route"
)

const many = 10_000

// tenant keeps the numbers' digits off the front, as real names do.
func tenant(n int) string { return fmt.Sprintf("tenant-%d", n) }

// populated is a table of many routes.
func populated(t testing.TB) (*supervisor, *route.Table) {
	s := newSupervisor(t)
	for n := range many {
		r := active(tenant(n), 1)
		s.routes[r.ProcessId] = r
	}
	return s, dialed(t, s.target())
}

func TestLookupTakesNoMemory(t *testing.T) {
	_, table := populated(t)
	k := route.Key{Pattern: "echo", Namespace: tenant(1234)}
	id := k.ProcessID()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if table.Lookup(k) == nil {
			t.Fatal("no route")
		}
		if table.LookupID(id) == nil {
			t.Fatal("no route")
		}
		if table.LookupID("ns:nobody:echo") != nil {
			t.Fatal("a route")
		}
	}))
}

// Who looks up while routes come, change and go sees each route whole, and
// never an older one after a newer one.
func TestLookupWhileRoutesChange(t *testing.T) {
	s := newSupervisor(t)
	table := dialed(t, s.target())
	const tenants, changes = 50, 400
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			var seen [tenants]uint64
			for {
				select {
				case <-stop:
					return
				default:
				}
				for n := range tenants {
					r := table.Lookup(route.Key{Pattern: "echo", Namespace: tenant(n)})
					if r == nil {
						continue
					}
					if r.Namespace != tenant(n) || r.Pid != 100+int(r.Epoch) || r.Epoch < seen[n] {
						t.Errorf("%+v after epoch %d", r, seen[n])
						return
					}
					seen[n] = r.Epoch
				}
			}
		})
	}
	for c := range changes {
		r := active(tenant(c%tenants), uint64(c+1))
		s.publish(r)
		if c%7 == 0 {
			s.publish(gone(r, 0))
		}
	}
	last := changes - 1
	until(t, table, route.Key{Pattern: "echo", Namespace: tenant(last % tenants)}, func(r *route.Route) bool {
		return r.Epoch == changes
	})
	close(stop)
	readers.Wait()
}

func BenchmarkLookup(b *testing.B) {
	_, table := populated(b)
	keys := make([]route.Key, many)
	ids := make([]string, many)
	for n := range many {
		keys[n] = route.Key{Pattern: "echo", Namespace: tenant(n)}
		ids[n] = keys[n].ProcessID()
	}
	b.Run("key/one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			table.Lookup(keys[7])
		}
	})
	b.Run("key/all", func(b *testing.B) { // out of the processor's caches
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			table.Lookup(keys[n%many])
			n += 7919
		}
	})
	b.Run("id/one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			table.LookupID(ids[7])
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			n := 0
			for pb.Next() {
				table.Lookup(keys[n%64])
				n++
			}
		})
	})
	plain := make(map[route.Key]*route.Route, many)
	for _, r := range table.Routes() { // with strings of its own
		plain[route.Key{Pattern: r.Pattern, Namespace: r.Namespace}] = r
	}
	b.Run("map/one", func(b *testing.B) { // a plain one, to compare with
		for b.Loop() {
			_ = plain[keys[7]]
		}
	})
	b.Run("map/all", func(b *testing.B) {
		n := 0
		for b.Loop() {
			_ = plain[keys[n%many]]
			n += 7919
		}
	})
}

// BenchmarkLookupBesideChanges has the supervisor publish as fast as it can.
func BenchmarkLookupBesideChanges(b *testing.B) {
	s, table := populated(b)
	stop, stopped := make(chan struct{}), make(chan struct{})
	var published int
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			r := active(tenant(published%many), uint64(published))
			s.publish(r)
			published++
			if published%512 == 0 { // as far as the stream's queue goes
				until(b, table, route.Key{Pattern: "echo", Namespace: r.Namespace}, atEpoch(r.Epoch))
			}
		}
	}()
	k := route.Key{Pattern: "echo", Namespace: tenant(7)}
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(k)
	}
	b.StopTimer()
	close(stop)
	<-stopped
	b.ReportMetric(float64(published)/b.Elapsed().Seconds(), "changes/s")
}
