package route

import (
	"fmt"
	"hash/maphash"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The index against a map, through additions, ends and rebuilds.
func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := maphash.MakeSeed()
		// Some hashes are bad on purpose: all in one chain.
		bad := rapid.Bool().Draw(t, "bad hash")
		hash := func(i identity) uint64 {
			if bad {
				return uint64(len(i.name))
			}
			return hashOf(seed, i)
		}
		x, model := newIndex(0), map[identity]*entry{}
		ended := map[*entry]bool{}
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			i := identity{level(rapid.IntRange(0, 2).Draw(t, "level")), fmt.Sprint(rapid.IntRange(0, 150).Draw(t, "name")), "echo"}
			e := x.find(hash(i), i)
			require.Same(t, model[i], e)
			if e != nil {
				ended[e] = rapid.Bool().Draw(t, "ends")
				continue
			}
			e = &entry{identity: i, hash: hash(i)}
			model[i] = e
			if x.add(e) {
				x = x.grow(func(e *entry) bool { return !ended[e] })
				for i, e := range model {
					if ended[e] {
						delete(model, i)
					}
				}
			}
		}
		count := 0
		for e := range x.all {
			require.Same(t, model[e.identity], e)
			count++
		}
		require.Equal(t, len(model), count)
	})
}

func TestBury(t *testing.T) {
	const death = 1000
	for _, tt := range []struct {
		name  string
		route Route
		same  bool // the clock
		cut   []int64
	}{
		{"nobody died", Route{State: Active, Epoch: 2}, true, nil},
		{"planned end", Route{State: Gone, Epoch: 1}, true, nil},
		{"death", Route{State: Active, Epoch: 2, Death: death}, true, []int64{500, 999}},
		{"death, nobody to take over", Route{State: Waiting, Epoch: 1, Death: death}, true, []int64{500, 999}},
		{"told already", Route{State: Active, Epoch: 2, Death: 400}, true, nil},
		{"another clock", Route{State: Active, Epoch: 2, Death: death}, false, []int64{500, 999, 1000, 1500}},
		{"failed", Route{State: Gone, Failed: true}, true, []int64{500, 999, 1000, 1500}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := births{death: 400, conns: map[*conn]struct{}{}}
			for _, born := range []int64{500, 999, 1000, 1500} {
				b.conns[&conn{born: born}] = struct{}{}
			}
			var cut []int64
			for _, c := range b.bury(&tt.route, func() bool { return tt.same }) {
				cut = append(cut, c.born)
			}
			require.ElementsMatch(t, tt.cut, cut)
			require.Len(t, b.conns, 4-len(cut))
		})
	}
}
