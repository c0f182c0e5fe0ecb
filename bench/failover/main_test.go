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

	"understudy/bench/internal/role"
)

func TestMain(m *testing.M) {
	role.Play(roles)
	goleak.VerifyTestMain(m)
}

func measureInto(t *testing.T, args ...string) (out string, printed string) {
	t.Helper()
	out = t.TempDir()
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
		P50    float64 `json:"p50_ms"`
		Floor  float64 `json:"p50_floor_ratio"`
	}
	Notes []string
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
	for _, r := range results.Rows {
		if r.Labels["what"] != "understudy" {
			continue
		}
		measured++
		require.Equal(t, 3, r.N, "%v", r)
		require.Positive(t, r.P50, "%v", r)
		require.Positive(t, r.Floor, "%v", r)
		require.Contains(t, printed, r.Labels["death"])
	}
	if cores && strings.Contains(strings.Join(results.Notes, "\n"), "left out") {
		rows /= 2 // no cores here; the note says why
	}
	require.Equal(t, rows, measured, "%v", results.Notes)
	for _, f := range []string{"failover.svg", "failover.txt", "failover.md", "failover-steps.json", "failover-steps.svg"} {
		require.FileExists(t, filepath.Join(out, f))
	}
}

// The floor in turn with the deaths has as many of its own, and the ratio is to
// it.
func TestFloorBesideTheDeaths(t *testing.T) {
	out, _ := measureInto(t, "-n", "3", "--ballast", "8", "--core", "", "--load", "idle", "--client", "byte,channel,route", "--beside")
	results := read(t, out)
	checked := 0
	for i, r := range results.Rows {
		if r.Labels["what"] != "understudy" {
			continue
		}
		floor := results.Rows[i-1]
		want := map[string]string{"byte": "floor in turn with byte: fresh", "channel": "gRPC floor in turn with channel: channel",
			"route": "gRPC floor in turn with route: channel"}
		require.Equal(t, want[r.Labels["client"]], floor.Labels["what"]+": "+floor.Labels["client"])
		require.Equal(t, r.Labels["size"], floor.Labels["size"])
		require.Equal(t, 3, floor.N)
		require.InEpsilon(t, r.P50/floor.P50, r.Floor, 0.02)
		checked++
	}
	require.Equal(t, 3, checked)
}

func TestSizesThatDoNotFitAreLeftOut(t *testing.T) {
	_, printed := measureInto(t, "--ballast", "1000000", "--core", "", "--load", "idle", "--client", "fresh", "-n", "1")
	require.Contains(t, printed, "1000000 MB, fresh, idle, SIGKILL during, auto: left out: needs 3000512 MB")
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
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(tt.args), null, null), tt.want)
	}
	require.ErrorIs(t, run(t.Context(), []string{"--help"}, null, null), flag.ErrHelp)
}
