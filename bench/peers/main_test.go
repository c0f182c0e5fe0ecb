package main

import (
	"encoding/json"
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

// TestEveryPeerThatIsHere has each of them fail over once, and the others named
// as missing.
func TestEveryPeerThatIsHere(t *testing.T) {
	out := t.TempDir()
	stdout, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	defer stdout.Close()
	require.NoError(t, run(t.Context(), []string{"-n", "1", "--ballast", "8", "--out", out}, stdout, os.Stderr))
	var results struct {
		Rows []struct {
			Labels map[string]string
			N      int
		}
		Notes []string
	}
	b, err := os.ReadFile(filepath.Join(out, "peers.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &results))
	measured := map[string]int{}
	for _, r := range results.Rows {
		measured[r.Labels["what"]] += r.N
	}
	require.Equal(t, len(clients), measured["understudy"])
	for i := range peers {
		p := &peers[i]
		if why := p.missing(); why != "" {
			require.Contains(t, results.Notes, p.name+": missing: "+why)
			continue
		}
		require.Equal(t, len(clients), measured[p.name], p.name)
	}
	require.FileExists(t, filepath.Join(out, "peers.svg"))
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	for _, tt := range []struct{ args, want string }{
		{"--ballast 8,", `"" is no size`},
		{"--peer monit", `"monit" is none of understudy, `},
		{"-n 0", "-n is not above 0"},
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(tt.args), null, null), tt.want)
	}
}

func TestMissingPeerSaysHowToGetIt(t *testing.T) {
	p := peer{name: "nobody", needs: []string{"understudy-no-such-program"}, packages: "nobody"}
	require.Equal(t, "understudy-no-such-program is not installed: apt-get install nobody", p.missing())
	p = peer{name: "elsewhere", needs: []string{"sh"}, here: func() string { return "not here" }}
	require.Equal(t, "not here", p.missing())
}
