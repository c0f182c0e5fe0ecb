package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/logkind"
)

// A reader of the log that stands still holds nobody up, and is told later what
// it missed.
func TestLogDoesNotWaitForItsReader(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	log, flush, err := newLogger(w, "info")
	require.NoError(t, err)
	const lines = 3 * logLines // and a pipe of 64 KiB
	for i := range lines {
		log.Info("a line", "i", i)
	}
	go func() {
		flush()
		<-log.Handler().(logHandler).queue.done
		w.Close()
	}()
	written, dropped, last := 0, 0, -1
	for s := bufio.NewScanner(r); s.Scan(); {
		var line struct {
			I     *int
			Lines int
		}
		require.NoError(t, json.Unmarshal(s.Bytes(), &line), s.Text())
		if dropped += line.Lines; line.I == nil {
			continue
		}
		require.Greater(t, *line.I, last, "out of order")
		last = *line.I
		written++
	}
	require.Positive(t, dropped)
	require.Equal(t, lines, written+dropped)
}

// What workers write fills its own queue alone: what the supervisor has to say
// is there when somebody reads, and before their lines.
func TestTroubleDoesNotWaitBehindOutput(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	log, flush, err := newLogger(w, "info")
	require.NoError(t, err)
	line := strings.Repeat("x", 8<<10)
	worker := log.With("worker", "echo-1")
	for range 3 * logLines {
		worker.InfoContext(logkind.OutputContext(), line, "stream", "stdout")
	}
	log.Error("disk is full")
	log.Info("failed over")
	dropped := log.Handler().(logHandler).Dropped()
	require.Positive(t, dropped["output"])
	require.Zero(t, dropped["trouble"]+dropped["event"])
	go func() {
		flush()
		<-log.Handler().(logHandler).queue.done
		w.Close()
	}()

	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Less(t, len(b), 2*logBytes, "of lines this long fewer wait than logLines")
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	place := func(text string) int {
		return slices.IndexFunc(all, func(l string) bool { return strings.Contains(l, text) })
	}
	trouble, events := place("disk is full"), place("failed over")
	require.Greater(t, trouble, -1)
	require.Greater(t, events, trouble)
	const inPipe = 64<<10/(8<<10) + 1 // lines that are on their way already
	require.Less(t, events, inPipe+5)
	require.Greater(t, len(all), logBytes/(9<<10))
}
