package floor_test

import (
	"os"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"understudy/bench/internal/floor"
	"understudy/bench/internal/role"
)

func TestMain(m *testing.M) {
	role.Play(role.Roles{floor.Role: floor.Main})
	goleak.VerifyTestMain(m)
}

func TestFloor(t *testing.T) {
	for _, kind := range []floor.Kind{floor.Fresh, floor.Held, floor.Ended} {
		t.Run(string(kind), func(t *testing.T) {
			h := hdrhistogram.New(1, int64(time.Minute), 3)
			require.NoError(t, floor.Measure(t.Context(), kind, 50, func(d time.Duration) {
				require.NoError(t, h.RecordValue(int64(d)))
			}))
			require.EqualValues(t, 50, h.TotalCount())
			// A process cannot die and another answer in less than some system
			// calls and two changes of context.
			require.Greater(t, h.Min(), int64(5*time.Microsecond))
			t.Logf("p50 %v p95 %v", time.Duration(h.ValueAtQuantile(50)), time.Duration(h.ValueAtQuantile(95)))
		})
	}
}

func TestFloorSaysWhatIsWrong(t *testing.T) {
	cmd := role.Command(t.Context(), floor.Role, "fresh")
	cmd.Stderr = nil
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "arguments are KIND N")
	require.NotEmpty(t, os.Args)
}
