package main

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"time"

	"understudy/internal/logkind"
)

const (
	// logLines and logBytes are how many lines of a kind may wait for the log's
	// reader, and how long they may be together.
	logLines = 4096
	logBytes = 4 << 20
	// lastLines is how long the end waits for it.
	lastLines = time.Second
)

// logQueue is between those who log and a reader that may stand still, as the
// reader of a pipe does at times. Each kind of line has room of its own, and a
// more important kind is written first. Lines beyond the room are dropped; the
// log says how many.
type logQueue struct {
	to     io.Writer
	direct *slog.Logger  // to the same
	wake   chan struct{} // holds one token while there may be something to write
	done   chan struct{}

	mu    sync.Mutex
	kinds [logkind.Kinds]kindQueue
	over  bool
}

// kindQueue is the lines of one kind.
type kindQueue struct {
	lines   [][]byte
	bytes   int
	dropped uint64 // since the start
	told    uint64 // how many of them the log knows of
}

func newLogQueue(to io.Writer, direct *slog.Logger) *logQueue {
	q := &logQueue{to: to, direct: direct, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// put takes a line. It never waits.
func (q *logQueue) put(kind logkind.Kind, line []byte) {
	q.mu.Lock()
	k := &q.kinds[kind]
	if len(k.lines) >= logLines || k.bytes+len(line) > logBytes {
		k.dropped++
	} else {
		k.lines = append(k.lines, bytes.Clone(line))
		k.bytes += len(line)
	}
	q.mu.Unlock()
	q.signal()
}

func (q *logQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *logQueue) run() {
	defer close(q.done)
	for range q.wake {
		for {
			line, ok := q.take()
			if !ok {
				break
			}
			_, _ = q.to.Write(line) // there is nobody to tell
			q.tell()
		}
		q.mu.Lock()
		over := q.over
		q.mu.Unlock()
		if over {
			return
		}
	}
}

// take returns the next line, of the most important kind that has one.
func (q *logQueue) take() (line []byte, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.kinds {
		k := &q.kinds[i]
		if len(k.lines) > 0 {
			line, k.lines[0], k.lines = k.lines[0], nil, k.lines[1:]
			k.bytes -= len(line)
			return line, true
		}
	}
	return nil, false
}

// tell says in the log what is missing in it.
func (q *logQueue) tell() {
	for kind := range logkind.Kinds {
		q.mu.Lock()
		k := &q.kinds[kind]
		n := k.dropped - k.told
		k.told = k.dropped
		q.mu.Unlock()
		if n > 0 {
			q.direct.Warn("log lines were dropped, as nobody read them", "queue", kind.String(), "lines", n)
		}
	}
}

func (q *logQueue) droppedLines() map[string]uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make(map[string]uint64, len(q.kinds))
	for i := range q.kinds {
		out[logkind.Kind(i).String()] = q.kinds[i].dropped
	}
	return out
}

// close writes what is there, as far as that is possible in lastLines.
func (q *logQueue) close() {
	q.mu.Lock()
	q.over = true
	q.mu.Unlock()
	q.signal()
	select {
	case <-q.done:
	case <-time.After(lastLines):
	}
}
