package route

import (
	"fmt"
	"hash/maphash"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"understudy/internal/procid"
)

// The index against a map, through additions, ends and rebuilds.
func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := maphash.MakeSeed()
		// Some hashes are bad on purpose: all in one chain.
		bad := rapid.Bool().Draw(t, "bad hash")
		hash := func(i identity) uint64 {
			if bad {
				return uint64(len(i.Session))
			}
			return hashOf(seed, i)
		}
		x, model := newIndex(0), map[identity]*entry{}
		ended := map[*entry]bool{}
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			i := identity{Level: procid.Level(rapid.IntRange(0, 2).Draw(t, "level")), Session: fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "session")),
				Namespace: fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "namespace")), Pattern: "echo"}
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
