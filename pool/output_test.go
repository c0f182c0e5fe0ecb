package pool

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// written is what capture makes of a worker that writes text and ends.
func written(t *testing.T, text string) (log string, tail []string, dropped int64) {
	t.Helper()
	out, outEnd, err := os.Pipe()
	require.NoError(t, err)
	errs, errsEnd, err := os.Pipe()
	require.NoError(t, err)
	errsEnd.Close()
	var b bytes.Buffer
	var n atomic.Int64
	o := captureOutput(slog.New(slog.NewJSONHandler(&b, nil)), &n, out, errs)
	_, err = outEnd.WriteString(text)
	require.NoError(t, err)
	outEnd.Close()
	o.readers.Wait()
	o.close()
	return b.String(), o.tail(), n.Load()
}

func TestOutputIsLoggedLineByLine(t *testing.T) {
	log, tail, dropped := written(t, "one\r\ntwo\n\nlast without an end")
	require.Equal(t, []string{"one", "two", "", "last without an end"}, tail)
	require.Equal(t, 4, strings.Count(log, "\n"))
	require.Contains(t, log, `"msg":"two","stream":"stdout"`)
	require.Zero(t, dropped)
}

func TestLongLineIsCut(t *testing.T) {
	log, tail, _ := written(t, strings.Repeat("x", 5*maxLine)+"\nnext\n")
	require.Len(t, tail, 2)
	require.Len(t, tail[0], maxLine)
	require.Equal(t, "next", tail[1])
	require.Less(t, len(log), maxLine+500)
}

func TestFloodOfBytesIsDroppedAndCounted(t *testing.T) {
	const lines = 500 // fewer than the burst of lines
	line := strings.Repeat("x", maxLine-1) + "\n"
	log, _, dropped := written(t, strings.Repeat(line, lines))
	logged := strings.Count(log, "\n")
	require.EqualValues(t, lines, int64(logged)+dropped)
	require.Positive(t, dropped)
	require.GreaterOrEqual(t, logged, byteBurst/maxLine)
}

// A worker that writes as fast as it can does not take a core of ours.
func TestOutputIsReadAtABoundedRate(t *testing.T) {
	begun := time.Now()
	_, _, _ = written(t, strings.Repeat("x", 2*readRate))
	require.GreaterOrEqual(t, time.Since(begun), 900*time.Millisecond, "one second's share is there at the start")
}

func TestFloodIsDroppedAndCounted(t *testing.T) {
	const lines = 20_000
	var b strings.Builder
	for i := range lines {
		fmt.Fprintln(&b, "line", i)
	}
	log, tail, dropped := written(t, b.String())
	logged := int64(strings.Count(log, "\n"))
	require.Equal(t, int64(lines), logged+dropped, "a line is neither logged nor counted")
	require.GreaterOrEqual(t, logged, int64(lineBurst))
	require.Positive(t, dropped)
	require.Len(t, tail, lastLines)
	require.Equal(t, "line 19999", tail[lastLines-1], "the last words count most")
}

// Short lines are read at a bounded rate too: each one costs some work.
func TestShortLinesAreReadAtABoundedRate(t *testing.T) {
	out, outEnd, err := os.Pipe()
	require.NoError(t, err)
	errs, errsEnd, err := os.Pipe()
	require.NoError(t, err)
	errsEnd.Close()
	var n atomic.Int64
	begun := time.Now()
	o := captureOutput(slog.New(slog.DiscardHandler), &n, out, errs)
	require.NoError(t, outEnd.SetWriteDeadline(begun.Add(2*time.Second)))
	lines := []byte(strings.Repeat("y\n", 1000))
	written := 0
	for err == nil {
		var w int
		w, err = outEnd.Write(lines)
		written += w
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	passed := time.Since(begun).Seconds()
	const unread = 64<<10 + maxLine // in the pipe, and in our buffer
	require.LessOrEqual(t, float64((written-unread)/len("y\n")*lineCost), readRate*(1+passed))
	outEnd.Close()
	o.readers.Wait()
	o.close()
	require.Len(t, o.tail(), lastLines)
}
