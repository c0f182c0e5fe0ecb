package route

import (
	"testing"

	"github.com/stretchr/testify/require"
)

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
		{"epoch went back", Route{State: Active, Epoch: 0}, true, []int64{500, 999, 1000, 1500}},
		{"failed", Route{State: Gone, Failed: true}, true, []int64{500, 999, 1000, 1500}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := births{death: 400, conns: map[*conn]struct{}{}}
			for _, born := range []int64{500, 999, 1000, 1500} {
				b.conns[&conn{born: born}] = struct{}{}
			}
			var cut []int64
			for _, c := range b.takeDead(&Route{State: Active, Epoch: 1}, &tt.route, func() bool { return tt.same }) {
				cut = append(cut, c.born)
			}
			require.ElementsMatch(t, tt.cut, cut)
			require.Len(t, b.conns, 4-len(cut))
		})
	}
}
