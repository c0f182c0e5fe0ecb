package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

const (
	// logLines is how many lines may wait for the log's reader.
	logLines = 4096
	// lastLines is how long the end waits for it.
	lastLines = time.Second
)

// newLogger writes text for people where f is a terminal, else JSON. Whoever
// logs never waits for f's reader; flush, at the end, does for a moment.
func newLogger(f *os.File, level string) (log *slog.Logger, flush func(), err error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, fmt.Errorf("--log-level: %q is none of debug, info, warn, error", level)
	}
	handler := func(w io.Writer) slog.Handler {
		o := &slog.HandlerOptions{Level: l}
		if term.IsTerminal(int(f.Fd())) {
			return slog.NewTextHandler(w, o)
		}
		return slog.NewJSONHandler(w, o)
	}
	q := newLogQueue(f, slog.New(handler(f)))
	return slog.New(handler(q)), q.close, nil
}

// logQueue is between those who log and a reader that may stand still, as the
// reader of a pipe does at times. Lines beyond logLines are dropped; the log
// says how many.
type logQueue struct {
	to      io.Writer
	direct  *slog.Logger // to the same
	lines   chan []byte
	dropped atomic.Int64
	over    chan struct{}
	done    chan struct{}
}

func newLogQueue(to io.Writer, direct *slog.Logger) *logQueue {
	q := &logQueue{to: to, direct: direct, lines: make(chan []byte, logLines), over: make(chan struct{}), done: make(chan struct{})}
	go q.run()
	return q
}

// Write takes a line. It never waits and never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	select {
	case q.lines <- bytes.Clone(line):
	default:
		q.dropped.Add(1)
	}
	return len(line), nil
}

func (q *logQueue) run() {
	defer close(q.done)
	for {
		select {
		case line := <-q.lines:
			q.write(line)
			continue
		default:
		}
		select {
		case line := <-q.lines:
			q.write(line)
		case <-q.over:
			return
		}
	}
}

func (q *logQueue) write(line []byte) {
	_, _ = q.to.Write(line) // there is nobody to tell
	if n := q.dropped.Swap(0); n > 0 {
		q.direct.Warn("log lines were dropped, as nobody read them", "lines", n)
	}
}

// close writes what is there, as far as that is possible in lastLines.
func (q *logQueue) close() {
	close(q.over)
	select {
	case <-q.done:
	case <-time.After(lastLines):
	}
}
