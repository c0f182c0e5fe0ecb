package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"
)

// sample has a floor of 1 to 100 µs and two rows three times as slow.
func sample() *Report {
	r := New("kill to first answer", "what", "size", "load")
	floor := r.Row("floor", "", "idle")
	for _, labels := range [][]string{{"understudy", "8", "idle"}, {"understudy", "8", "busy"}} {
		row := r.Row(labels...)
		row.Floor = floor
		for i := 1; i <= 100; i++ {
			row.Record(time.Duration(3*i) * time.Microsecond)
		}
		row.Failed = 2
	}
	for i := 1; i <= 100; i++ {
		floor.Record(time.Duration(i) * time.Microsecond)
	}
	return r
}

func TestQuantilesKeepThreeFigures(t *testing.T) {
	row := New("t", "l").Row("x")
	for _, d := range []time.Duration{100 * time.Nanosecond, 123456789, 9 * time.Minute} {
		row.Record(d)
		require.InEpsilon(t, float64(d), float64(row.Max()), 0.001)
	}
	row.Record(-time.Second)
	row.Record(time.Hour)
	require.EqualValues(t, 5, row.N())
	require.Zero(t, row.Quantile(0))
	require.InEpsilon(t, float64(10*time.Minute), float64(row.Max()), 0.001)
}

func TestRatioIsToTheFloorOfTheSameQuantile(t *testing.T) {
	r := sample()
	for _, p := range []float64{50, 95} {
		ratio, ok := r.Rows()[1].Ratio(p)
		require.True(t, ok)
		require.InEpsilon(t, 3, ratio, 0.01)
	}
	_, ok := r.Rows()[0].Ratio(50)
	require.False(t, ok)
	empty := r.Row("understudy", "64", "idle")
	empty.Floor = r.Rows()[0]
	_, ok = empty.Ratio(50)
	require.False(t, ok)
}

func TestTable(t *testing.T) {
	r := sample()
	r.Row("nothing", "64", "idle")
	r.Note("4096 MB: %s", "too little memory\nat all")
	var b bytes.Buffer
	require.NoError(t, r.WriteTable(&b))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 7)
	require.Equal(t, []string{"understudy", "8", "idle", "0.150", "0.285", "0.297", "0.300", "100", "2", "3.00x", "3.00x"}, strings.Fields(lines[3]))
	require.Equal(t, []string{"nothing", "64", "idle", "-", "-", "-", "-", "0", "0", "-", "-"}, strings.Fields(lines[5]))
	require.Equal(t, "4096 MB: too little memory", lines[6])

	b.Reset()
	require.NoError(t, r.WriteMarkdown(&b))
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		require.Equal(t, 12, strings.Count(line, "|"), line)
	}
}

func TestJSONHoldsTheMachineAndTheWholeHistogram(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().WriteJSON(&b))
	var d document
	require.NoError(t, json.Unmarshal(b.Bytes(), &d))
	require.NotEmpty(t, d.Machine.Kernel)
	require.Positive(t, d.Machine.MemoryMB)
	require.Equal(t, os.Args, d.Machine.Command)
	row := d.Rows[1]
	require.Equal(t, map[string]string{"what": "understudy", "size": "8", "load": "idle"}, row.Labels)
	require.InEpsilon(t, 0.15, row.P50, 0.01)
	require.InEpsilon(t, 3, row.FloorP95, 0.01)
	h, err := hdrhistogram.Decode([]byte(row.Histogram))
	require.NoError(t, err)
	require.EqualValues(t, 100, h.TotalCount())
	require.InEpsilon(t, 300_000, float64(h.Max()), 0.01)
}

func TestPictureIsWholeXMLAndNamesWhatItShows(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().WriteSVG(&b, "load"))
	text := b.String()
	for d := xml.NewDecoder(&b); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	for _, want := range []string{"kill to first answer", ">idle<", ">busy<", ">understudy, 8<", ">floor, idle<", ">95 %<", ">0.1<"} {
		require.Contains(t, text, want)
	}
	require.ErrorIs(t, New("nothing", "l").WriteSVG(&b), ErrNothing)
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "out")
	files, err := sample().WriteFiles(dir, "failover", "load")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, f := range files {
		s, err := os.Stat(f)
		require.NoError(t, err)
		require.Positive(t, s.Size())
	}
	files, err = New("nothing", "l").WriteFiles(dir, "nothing")
	require.NoError(t, err)
	require.Len(t, files, 3, "all but the picture")
}

func TestRowWithTheWrongLabelsIsAMistake(t *testing.T) {
	require.Panics(t, func() { New("t", "a", "b").Row("one") })
}

// A section is replaced where its command stands, and the rest of the document
// stays. Columns that say the same in every row are left out.
func TestSection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "B.md")
	command := Command("failover", []string{"-n", "3", "-out", "x", "-report=y", "-load", "idle"})
	require.Equal(t, "go run ./bench/failover -n 3 -load idle", command)
	require.NoError(t, os.WriteFile(file, []byte("# Title\n\n<!-- "+command+" -->\nold\n<!-- end -->\n\nmore\n"), 0o644))
	r := sample()
	r.Source = "abc1234"
	r.Rows()[2].Base = r.Rows()[1]
	r.Note("why")
	for range 2 {
		require.NoError(t, r.WriteSection(file, command))
	}
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	text := string(b)
	require.Contains(t, text, "| understudy | 8 | busy | 0.150/0.285 | 0.150/0.285 | +0.00/+0.00 | 100 |")
	require.Contains(t, text, "\nCommit abc1234, ")
	require.Contains(t, text, "\n* why\n<!-- end -->\n\nmore\n")
	require.NotContains(t, text, "old")
	require.Equal(t, 1, strings.Count(text, "<!-- go run"))

	require.NoError(t, r.WriteSection(file, "go run ./bench/other"))
	b, err = os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(b), strings.TrimRight(text, "\n")+"\n\n<!-- go run ./bench/other -->\n"))

	require.NoError(t, os.WriteFile(file, []byte("<!-- go run ./bench/other -->\nno end\n"), 0o644))
	require.ErrorContains(t, r.WriteSection(file, "go run ./bench/other"), "no line")
}
