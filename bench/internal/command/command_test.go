package command

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/bench/internal/progress"
	"understudy/bench/internal/report"
)

func TestFlags(t *testing.T) {
	loads, sizes := []string{"idle", "busy"}, Sizes{8}
	var o Output
	parse := func(args ...string) error {
		f := flag.NewFlagSet("test", flag.ContinueOnError)
		f.SetOutput(io.Discard)
		f.Var(Words{Chosen: &loads, Known: []string{"idle", "busy"}}, "load", "")
		f.Var(&sizes, "size", "")
		return o.Parse(f, args)
	}
	require.NoError(t, parse())
	require.Equal(t, []string{"idle", "busy"}, loads)
	require.NoError(t, parse("-load", "busy", "-size", "0,64", "-out", "x"))
	require.Equal(t, []string{"busy"}, loads)
	require.Equal(t, Sizes{0, 64}, sizes)
	require.Equal(t, "x", o.Dir)
	require.NoError(t, parse("-load=", "-size="))
	require.Empty(t, loads)
	require.Empty(t, sizes)
	require.ErrorContains(t, parse("-load", "half"), `"half" is none of idle, busy`)
	require.ErrorContains(t, parse("-size", "8,"), `"" is no size in MiB`)
}

// A row that fails is noted, by its first line, and the next one is measured; the
// end of the context ends the plan.
func TestRows(t *testing.T) {
	r := report.New("t", "what")
	rows := Rows{Report: r, Progress: progress.New(io.Discard, 3)}
	ctx, cancel := context.WithCancelCause(t.Context())
	require.NoError(t, rows.Measure(ctx, "one", func() error { return errors.New("broken\nand its log") }))
	require.NoError(t, rows.Measure(ctx, "two", func() error { return nil }))
	rows.Skip("three", 1, "too large")
	require.EqualError(t, rows.Err(), "one: failed: broken")
	require.Equal(t, []string{"one: failed: broken", "three: left out: too large"}, r.Notes)
	why := errors.New("enough")
	require.ErrorIs(t, rows.Measure(ctx, "four", func() error { cancel(why); return ctx.Err() }), why)
	require.Equal(t, "interrupted", r.Notes[2])
}

func TestOutput(t *testing.T) {
	dir := t.TempDir()
	document := filepath.Join(dir, "B.md")
	var o Output
	require.NoError(t, o.Parse(flag.NewFlagSet("test", flag.ContinueOnError), []string{"-out", filepath.Join(dir, "out"), "-report", document}))
	first, second := report.New("first", "what"), report.New("second", "what")
	first.Row("a").Record(time.Millisecond)
	second.Row("b").Record(time.Millisecond)
	var printed bytes.Buffer
	require.NoError(t, o.Write(&printed, Table{Report: first, Name: "one"}, Table{Report: second, Name: "two"}))
	for _, file := range []string{filepath.Join(o.Dir, "one.json"), filepath.Join(o.Dir, "two.txt"), document} {
		require.FileExists(t, file)
		require.Contains(t, printed.String(), file+"\n")
	}
	section, err := os.ReadFile(document)
	require.NoError(t, err)
	require.Contains(t, string(section), "<!-- go run ./bench/test -->\n")
	require.Contains(t, string(section), "| a |")
	require.NotContains(t, string(section), "| b |")

	require.NoError(t, o.WriteText("abc1234", []byte("what it said\n")))
	section, err = os.ReadFile(document)
	require.NoError(t, err)
	require.Contains(t, string(section), "```\nwhat it said\n```\n<!-- end -->")
}
