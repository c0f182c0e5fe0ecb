package shmregistry_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"understudy/shmregistry"
)

// TestTheBooksAgreeWithReality has bindings live and end in any order, with
// restarts of the registry between, and holds what it says against a model,
// against the directory, and against its own file.
func TestTheBooksAgreeWithReality(t *testing.T) {
	me := startWorker(t).owner
	specs := []shmregistry.Spec{shared, window}
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlace(t)
		r := p.open(t)
		type life struct{ epoch, prepared uint64 } // the active worker's, and the highest that was prepared
		lives := map[string]*life{}
		one := func(rt *rapid.T) (string, *life) {
			name := rapid.SampledFrom([]string{"shared:a", "ns:b/c:d", "session:ü:f"}).Draw(rt, "binding")
			if lives[name] == nil {
				lives[name] = &life{}
			}
			return name, lives[name]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"prepare": func(rt *rapid.T) {
				name, l := one(rt)
				l.prepared = max(l.prepared, l.epoch+1)
				_, err := r.Prepare(name, l.epoch+1, specs)
				require.NoError(t, err)
			},
			"activate": func(rt *rapid.T) {
				name, l := one(rt)
				if l.prepared <= l.epoch {
					rt.Skip("nothing is prepared")
				}
				l.epoch++
				r.Activated(name, l.epoch, me)
			},
			"die": func(rt *rapid.T) {
				name, l := one(rt)
				r.Died(name, l.epoch)
			},
			"remove": func(rt *rapid.T) {
				name, _ := one(rt)
				r.Remove(name)
				delete(lives, name)
			},
			"restart": func(rt *rapid.T) {
				before := r.List()
				require.NoError(t, r.Close())
				r = p.open(t)
				for name, l := range lives { // what was made ahead is asked for again
					if l.prepared > l.epoch {
						_, err := r.Prepare(name, l.epoch+1, specs)
						require.NoError(t, err)
					}
				}
				after := r.List()
				require.Len(t, after, len(before))
				for i := range after {
					if after[i].State == shmregistry.Waiting {
						after[i].Changed = before[i].Changed
					}
				}
				require.Equal(t, before, after)
			},
			"reconcile": func(rt *rapid.T) { require.Zero(t, r.Reconcile()) },
			"": func(rt *rapid.T) {
				names := []string{}
				handovers := map[string]int{}
				usage := map[string]int64{}
				for _, e := range r.List() {
					names = append(names, filepath.Base(e.Path))
					usage[e.Binding] += e.Size
					require.NotNil(t, lives[e.Binding], "a segment of nobody")
					require.LessOrEqual(t, e.Epoch, lives[e.Binding].prepared)
					if e.Policy == shmregistry.Handover {
						handovers[e.Binding]++
					}
				}
				slices.Sort(names)
				require.Equal(t, p.names(t), names)
				var total int64
				for name, l := range lives {
					want := 0
					if l.prepared > 0 {
						want = 1
					}
					require.Equal(t, want, handovers[name], fmt.Sprint(name, *l))
					_, bytes := r.Usage(name)
					require.Equal(t, usage[name], bytes)
					total += bytes
				}
				require.Equal(t, total, r.Totals().Bytes)
			},
		})
		require.NoError(t, r.Close())
		totals := r.Totals()
		require.Zero(t, totals.Repaired+totals.Lost+totals.NamesLost+totals.Foreign+totals.WriteFailures, totals)
	})
}
