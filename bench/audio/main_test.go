package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"understudy/bench/internal/daemon"
	"understudy/bench/internal/role"
	"understudy/bench/internal/standstill"
	"understudy/patterns/dsp/blocks"
	"understudy/patterns/dsp/chain"
)

func TestMain(m *testing.M) {
	role.Play(roles)
	goleak.VerifyTestMain(m)
}

var built = daemon.BuildOnce(daemon.Program, daemon.DSP)

func programs(t *testing.T) (understudyd, dsp string) {
	t.Helper()
	p, err := built()
	require.NoError(t, err)
	return p[0], p[1]
}

// TestMusicOutlivesWorkers is the whole benchmark, short. How late a block is depends on what else the machine does;
// that none is lost and none differs does not.
func TestMusicOutlivesWorkers(t *testing.T) {
	out := t.TempDir()
	understudyd, dsp := programs(t)
	var printed bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-kills", "2", "-out", out, "-understudyd", understudyd, "-dsp", dsp}, &printed, os.Stderr))
	var results []result
	text, err := os.ReadFile(filepath.Join(out, "audio.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &results))
	require.Len(t, results, 1)
	require.Len(t, results[0].Kills, 2)
	require.Zero(t, results[0].Different)
	require.Contains(t, printed.String(), "samples that differ: 0 of")
	played, err := readWAV(filepath.Join(out, "output.wav"))
	require.NoError(t, err)
	require.Len(t, played, results[0].Blocks)
	if results[0].Dropouts == 0 {
		music, err := readWAV(filepath.Join(out, "input.wav"))
		require.NoError(t, err)
		require.Equal(t, reference(music, len(played)), played)
	}
}

// TestTheWorkGoesOnAndThenGoes kills a worker in the middle of its work, and looks for what is left of it after the end
// of the binding.
func TestTheWorkGoesOnAndThenGoes(t *testing.T) {
	understudyd, dsp := programs(t)
	home, err := os.MkdirTemp("", "usd") // t.TempDir is too long for sockets
	require.NoError(t, err)
	defer os.RemoveAll(home)
	d, err := daemon.Start(t.Context(), daemon.Config{Program: understudyd, Dir: home, Pattern: daemon.Pattern{
		Name: "dsp", Program: dsp, Segments: blocks.Specs(), Spares: 1, Heir: true, StartTimeout: startTimeout}})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Stop()) }()
	id, _, err := d.Launch(t.Context(), "test")
	require.NoError(t, err)
	shared, release, err := open(t.Context(), d, id)
	require.NoError(t, err)
	defer release()
	paths, err := d.Segments(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, paths, 3)
	require.NoError(t, d.AwaitSpare(t.Context()))

	music := testSignal()[:blocks.Ring]
	want := reference(music, len(music))
	for n := range music {
		*shared.In(uint64(n)) = music[n]
		shared.HandIn(uint64(n + 1))
		if n == 40 {
			_, err := d.Signal(t.Context(), id, unix.SIGKILL)
			require.NoError(t, err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		commits := shared.Commits()
		done, err := shared.Committed()
		require.NoError(t, err)
		if done == uint64(len(music)) {
			break
		}
		require.NoError(t, shared.AwaitCommit(commits, time.Until(deadline)), "%d blocks are done", done)
	}
	for n := range want {
		require.Equal(t, want[n], *shared.Out(uint64(n)), "block %d", n)
	}
	require.NoError(t, d.Terminate(t.Context(), id))
	require.Eventually(t, func() bool {
		for _, path := range paths {
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				return false
			}
		}
		return true
	}, 10*time.Second, 10*time.Millisecond, "segments are left in %v", paths)
}

func TestWAVKeepsEveryBit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.wav")
	blocks := testSignal()[700:720]
	blocks[3][5], blocks[3][6] = -1, 1e-38
	require.NoError(t, writeWAV(path, blocks))
	got, err := readWAV(path)
	require.NoError(t, err)
	require.Equal(t, blocks, got)
	require.NoError(t, os.WriteFile(path, []byte("RIFF"), 0o644))
	_, err = readWAV(path)
	require.ErrorContains(t, err, "x.wav: not a WAV file")
}

func TestJudgement(t *testing.T) {
	tk := newTake(3)
	want := make([]chain.Block, 3)
	want[1][7], tk.out[1][7], tk.out[2][7] = 1, 1, 1 // the last one differs
	tk.back = []time.Duration{time.Millisecond, due(1) + due(2) + 1, due(2) + due(2)}
	r := &result{Lookahead: 1, Kills: []kill{{At: 2 * time.Millisecond}}}
	tk.beganAt = 500
	r.judge(tk, want, []standstill.Span{{From: 500 + int64(due(2)), To: 501 + int64(due(2))}})
	require.Equal(t, 1, r.Dropouts)
	require.Equal(t, 1, r.Stopped, "1 ns too late, and for 1 ns the machine stood still")
	require.Equal(t, 1, r.Different)
	require.Equal(t, 2, r.Needed)
	require.Equal(t, time.Nanosecond, r.Worst)
	require.Equal(t, 1, r.Kills[0].Late)
	require.Zero(t, tk.out[1], "what is late is not heard")
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-load half", "none of idle, busy"},
		{"-kills -1", "-kills -1"},
		{"-lookahead 64", "from 0 to 63"},
		{"-ballast -1", "-ballast -1"},
		{"-spares -1", "-spares -1"},
		{"-picture x.png -spares 0", "-picture needs"},
		{"more", `["more"]`},
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(tt.args), &bytes.Buffer{}, &bytes.Buffer{}), tt.want)
	}
	require.ErrorIs(t, run(t.Context(), []string{"--help"}, &bytes.Buffer{}, &bytes.Buffer{}), flag.ErrHelp)
}
