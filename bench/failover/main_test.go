package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"understudy/bench/internal/daemon"
	"understudy/bench/internal/role"
)

func TestMain(m *testing.M) {
	role.Play(roles)
	goleak.VerifyTestMain(m)
}

var built = daemon.BuildOnce(daemon.Program, daemon.Echo)

func programs(t *testing.T) (understudyd, echo string) {
	t.Helper()
	p, err := built()
	require.NoError(t, err)
	return p[0], p[1]
}

func measureInto(t *testing.T, args ...string) (out string, printed string) {
	t.Helper()
	out = t.TempDir()
	understudyd, echo := programs(t)
	args = append(args, "--understudyd", understudyd, "--echo", echo)
	stdout, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	defer stdout.Close()
	require.NoError(t, run(t.Context(), append(args, "--out", out), stdout, os.Stderr))
	b, err := os.ReadFile(stdout.Name())
	require.NoError(t, err)
	return out, string(b)
}

type results struct {
	Rows []struct {
		Labels map[string]string
		N      int
		P50    float64  `json:"p50_ms"`
		Floor  float64  `json:"p50_floor_ratio"`
		Added  *float64 `json:"p50_added_ms"`
	}
	Source string
	Notes  []string
}

// read returns what a run wrote into its folder.
func read(t *testing.T, out string) (r results) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(out, "failover.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &r))
	return r
}

// TestQuick is the whole benchmark with a few deaths in each row: every client
// once, then every load, source and way to die with the cheapest client.
func TestQuick(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		rows int // of each way to die
	}{
		"clients":       {[]string{"--client", "byte,fresh,channel,route,route+retry", "--load", "idle", "--core", ""}, 5},
		"circumstances": {[]string{"--client", "byte", "--source", "auto,bare"}, 4},
	} {
		t.Run(name, func(t *testing.T) { quick(t, tt.rows, tt.args...) })
	}
}

func quick(t *testing.T, rows int, args ...string) {
	cores := !slices.Contains(args, "--core")
	if cores {
		rows *= 2
	}
	args = append([]string{"--quick"}, args...)
	out, printed := measureInto(t, args...)
	results := read(t, out)
	measured := 0
	for i, r := range results.Rows {
		if r.Labels["what"] != "understudy" {
			require.Nil(t, r.Added, "%v", r)
			continue
		}
		measured++
		require.Equal(t, 2, r.N, "%v", r)
		require.Positive(t, r.P50, "%v", r)
		require.Positive(t, r.Floor, "%v", r)
		require.Contains(t, printed, r.Labels["death"])
		beside(t, results, i)
	}
	if cores && strings.Contains(strings.Join(results.Notes, "\n"), "left out") {
		rows /= 2 // no cores here; the note says why
	}
	require.Equal(t, rows, measured, "%v", results.Notes)
	for _, f := range []string{"failover.svg", "failover.txt", "failover.md", "failover-steps.json", "failover-steps.svg"} {
		require.FileExists(t, filepath.Join(out, f))
	}
}

// beside checks that row i has the same client beside it when nobody dies, as
// often, and says the difference.
func beside(t *testing.T, results results, i int) {
	r, want := results.Rows[i], []string{"nobody dies", "nobody dies, connection cut"}
	client := r.Labels["client"]
	if client == "byte" || client == "fresh" {
		want = want[:1]
	}
	for k, what := range want {
		quiet := results.Rows[i-len(want)+k]
		require.Equal(t, what+": "+client, quiet.Labels["what"]+": "+quiet.Labels["client"])
		require.Equal(t, r.N, quiet.N)
	}
	require.NotNil(t, r.Added)
	require.InDelta(t, r.P50-results.Rows[i-1].P50, *r.Added, 0.001)
}

// Two builds are measured in turn, and compared with each other.
func TestAgainst(t *testing.T) {
	understudyd, echo := programs(t)
	out, _ := measureInto(t, "-n", "2", "--ballast", "8", "--core", "", "--load", "idle", "--client", "channel", "--against", understudyd+","+echo)
	results := read(t, out)
	rows := map[string]int{}
	for i, r := range results.Rows {
		rows[r.Labels["what"]] = i
		require.Equal(t, 2, r.N)
	}
	require.Len(t, rows, 6, "%v", rows)
	this, other := results.Rows[rows["understudy"]], results.Rows[rows["understudy (against)"]]
	require.InEpsilon(t, this.P50/other.P50, this.Floor, 0.02)
	require.Zero(t, other.Floor)
	require.NotZero(t, *other.Added)
	require.Contains(t, results.Source, " against ")
}

func TestReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	args := []string{"-n", "1", "--ballast", "8", "--core", "", "--load", "idle", "--client", "byte", "--report", file}
	measureInto(t, args...)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(b), "<!-- go run ./bench/failover -n 1 --ballast 8")
	require.Regexp(t, `\| understudy \| 8 MB \| byte \| idle \| .* \| 1 \|`, string(b))
}

func TestSizesThatDoNotFitAreLeftOut(t *testing.T) {
	_, printed := measureInto(t, "--ballast", "1000000", "--core", "", "--load", "idle", "--client", "fresh", "-n", "1")
	require.Contains(t, printed, "1000000 MB, fresh, idle, SIGKILL between, auto: left out: needs 3000512 MB")
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	for _, tt := range []struct{ args, want string }{
		{"--ballast x", `"x" is no size`},
		{"--client nobody", "none of byte, fresh, channel"},
		{"--load half", "none of idle, busy"},
		{"-n 0", "-n is not above 0"},
		{"more", `["more"]`},
		{"--understudyd x --echo x --against /nowhere", "run, or understudyd and echo with a comma between"},
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(tt.args), null, null), tt.want)
	}
	require.ErrorIs(t, run(t.Context(), []string{"--help"}, null, null), flag.ErrHelp)
}
