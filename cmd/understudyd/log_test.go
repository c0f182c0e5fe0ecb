package main

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
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
