package pool

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPlanStarts(t *testing.T) {
	for name, c := range map[string]struct {
		pools          []census
		running, limit int
		want           []int
	}{
		"nothing missing":                       {[]census{{min: 2, max: 2, standby: 2}}, 0, 4, []int{0}},
		"fills to min, not to max":              {[]census{{min: 2, max: 5}}, 0, 4, []int{2}},
		"counts what is starting":               {[]census{{min: 2, max: 2, starting: 1}}, 1, 4, []int{1}},
		"no more than the limit":                {[]census{{min: 9, max: 9}}, 0, 4, []int{4}},
		"others' starts take room":              {[]census{{min: 9, max: 9}}, 3, 4, []int{1}},
		"no room":                               {[]census{{min: 9, max: 9}}, 4, 4, []int{0}},
		"more running than the limit":           {[]census{{min: 9, max: 9}}, 6, 4, []int{0}},
		"pools take turns":                      {[]census{{min: 9, max: 9}, {min: 9, max: 9}, {min: 1, max: 1}}, 0, 5, []int{2, 2, 1}},
		"who waits comes before spares":         {[]census{{min: 4, max: 4}, {min: 1, max: 1, demand: 2}}, 0, 3, []int{1, 2}},
		"demand without spares":                 {[]census{{demand: 3}}, 0, 4, []int{3}},
		"demand that is being met":              {[]census{{demand: 2, starting: 2}, {min: 1, max: 1}}, 2, 3, []int{0, 1}},
		"a blocked pool's spares wait":          {[]census{{min: 2, max: 2, blocked: true}, {min: 1, max: 1}}, 0, 4, []int{0, 1}},
		"but not those for whom bindings wait":  {[]census{{min: 2, max: 2, demand: 1, blocked: true}, {min: 1, max: 1}}, 0, 4, []int{1, 1}},
		"who waits waits after a failed start":  {[]census{{min: 2, max: 2, demand: 1, blocked: true, held: true}}, 0, 4, []int{0}},
		"who waits gets one start all the same": {[]census{{min: 4, max: 4, starting: 4}, {demand: 3}}, 4, 4, []int{0, 1}},
		"and one that starts is enough":         {[]census{{min: 4, max: 4, starting: 3}, {demand: 3, starting: 1}}, 4, 4, []int{0, 0}},
		"too many":                              {[]census{{min: 1, max: 2, standby: 5}}, 0, 4, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, planStarts(c.pools, c.running, c.limit))
		})
	}
}

func TestSurplus(t *testing.T) {
	require.Equal(t, 3, census{min: 1, max: 2, standby: 5}.surplus())
	require.Equal(t, 0, census{min: 1, max: 2, standby: 2}.surplus())
	require.Equal(t, 0, census{min: 3, max: 0, standby: 3}.surplus(), "min counts where max is less")
}

// Room is never left while a pool lacks something that it may start, no pool gets what
// it does not lack, and beyond the room there is one start for each pool that
// bindings wait for.
func TestPlanUsesItsRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.IntRange(0, 6)
		pools := make([]census, rapid.IntRange(0, 5).Draw(t, "pools"))
		lacking := 0
		for i := range pools {
			pools[i] = census{min: small.Draw(t, "min"), max: small.Draw(t, "max"), standby: small.Draw(t, "standby"),
				starting: small.Draw(t, "starting"), demand: small.Draw(t, "demand"), blocked: rapid.Bool().Draw(t, "blocked")}
			pools[i].held = pools[i].blocked && rapid.Bool().Draw(t, "held")
			lacking += pools[i].missing()
		}
		running, limit := small.Draw(t, "running"), rapid.IntRange(1, 8).Draw(t, "limit")
		total, beyond := 0, 0
		for i, n := range planStarts(pools, running, limit) {
			require.GreaterOrEqual(t, n, 0)
			require.LessOrEqual(t, n, pools[i].missing())
			require.False(t, pools[i].held && n > 0)
			total += n
			if p := pools[i]; !p.held && p.demand > 0 && p.starting == 0 && p.missing() > 0 {
				require.Positive(t, n, "bindings wait for pool %d", i)
				beyond++
			}
		}
		room := min(lacking, max(0, limit-running))
		require.GreaterOrEqual(t, total, room)
		require.LessOrEqual(t, total, room+beyond)
	})
}
