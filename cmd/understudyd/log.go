package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"understudy/internal/logkind"
)

// newLogger writes text for people where f is a terminal, else JSON. A call
// that logs never waits for the reader of f; flush, at the end, waits for a moment.
func newLogger(f *os.File, level string) (log *slog.Logger, flush func(), err error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, fmt.Errorf("--log-level: %q is none of debug, info, warn, error", level)
	}
	format := func(w io.Writer) slog.Handler {
		o := &slog.HandlerOptions{Level: l}
		if term.IsTerminal(int(f.Fd())) {
			return slog.NewTextHandler(w, o)
		}
		return slog.NewJSONHandler(w, o)
	}
	q := newLogQueue(f, slog.New(format(f)))
	h := logHandler{queue: q}
	for kind := range h.to {
		h.to[kind] = format(queueWriter{q, logkind.Kind(kind)})
	}
	return slog.New(h), q.close, nil
}

// logHandler gives each record to the queue of its kind.
type logHandler struct {
	queue *logQueue
	to    [logkind.Kinds]slog.Handler
}

// Enabled implements slog.Handler.
func (h logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.to[0].Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.to[logkind.Of(ctx, r.Level)].Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for i := range h.to {
		h.to[i] = h.to[i].WithAttrs(attrs)
	}
	return h
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler {
	for i := range h.to {
		h.to[i] = h.to[i].WithGroup(name)
	}
	return h
}

// Dropped returns how many lines of each kind nobody read in time.
func (h logHandler) Dropped() map[string]uint64 { return h.queue.droppedLines() }

// queueWriter is one kind's way into the queue.
type queueWriter struct {
	queue *logQueue
	kind  logkind.Kind
}

// Write takes a line. It never waits and never fails.
func (w queueWriter) Write(line []byte) (int, error) {
	w.queue.put(w.kind, line)
	return len(line), nil
}
