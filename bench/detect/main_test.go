package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"understudy/bench/internal/role"
)

func TestMain(m *testing.M) {
	role.Play(roles)
	goleak.VerifyTestMain(m)
}

// TestQuick is the whole benchmark with a few deaths in each row.
func TestQuick(t *testing.T) {
	out := t.TempDir()
	stdout, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	defer stdout.Close()
	require.NoError(t, run(t.Context(), []string{"--quick", "--load", "idle", "--out", out}, stdout, os.Stderr))
	var results struct {
		Rows []struct {
			Labels map[string]string
			N      int
			P50    float64 `json:"p50_ms"`
			Floor  float64 `json:"p50_floor_ratio"`
		}
		Notes []string
	}
	b, err := os.ReadFile(filepath.Join(out, "detect.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &results))
	exited := map[string]int{}
	for _, r := range results.Rows {
		require.Positive(t, r.P50, "%v", r)
		require.LessOrEqual(t, r.N, 2, "%v", r)
		if r.Labels["source"] == "pidfd" {
			require.Positive(t, r.Floor, "%v", r)
			exited[r.Labels["death"]] += r.N
		}
	}
	left := strings.Join(results.Notes, "\n")
	for _, d := range deaths {
		want := 2 * 2 * 2 // deaths, sizes, workers
		if d.from > 0 {
			want /= 2
		}
		if strings.Contains(left, string(d.death)) {
			want = 0 // the note says why
		}
		require.Equal(t, want, exited[string(d.death)], "%s: %v", d.death, results.Notes)
	}
	for _, f := range []string{"detect.svg", "detect.txt", "detect.md"} {
		require.FileExists(t, filepath.Join(out, f))
	}
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	for _, tt := range []struct{ args, want string }{
		{"--size x", `"x" is no size`},
		{"--death boredom", "none of SIGKILL"},
		{"--load half", "none of idle, busy"},
		{"-n 0", "-n is not above 0"},
		{"more", `["more"]`},
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(tt.args), null, null), tt.want)
	}
	require.ErrorIs(t, run(t.Context(), []string{"--help"}, null, null), flag.ErrHelp)
}
