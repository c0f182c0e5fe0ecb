package pool

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"understudy/internal/logkind"
)

// Bounds on what a worker's output may cost us.
const (
	// maxLine is where a line is cut, in bytes.
	maxLine = 8 << 10
	// lastLines are kept for a start error or a crash record.
	lastLines = 10
	// lineRate and lineBurst bound the log lines of one worker, in lines per
	// second; what is beyond is dropped and counted.
	lineRate  = 200
	lineBurst = 1000
	// byteRate and byteBurst bound these lines in bytes.
	byteRate  = 64 << 10
	byteBurst = 1 << 20
	// readRate is how many bytes a second are read of one worker. A worker that
	// writes more waits: to read all that it can write would take a core.
	readRate = 16 << 20
	// lineCost is how many of these bytes a line counts as, at least: lines of one
	// letter would take a core all the same.
	lineCost = 256
)

// capture reads what a worker writes until it closes both pipes.
type capture struct {
	log     *slog.Logger
	lines   *rate.Limiter
	bytes   *rate.Limiter
	pace    *rate.Limiter
	dropped *atomic.Int64
	readers sync.WaitGroup
	files   []*os.File

	mu   sync.Mutex
	last []string
}

func captureOutput(log *slog.Logger, dropped *atomic.Int64, stdout, stderr *os.File) *capture {
	o := &capture{log: log, lines: rate.NewLimiter(lineRate, lineBurst), bytes: rate.NewLimiter(byteRate, byteBurst),
		pace: rate.NewLimiter(readRate, readRate), dropped: dropped, files: []*os.File{stdout, stderr}}
	o.readers.Go(func() { o.read("stdout", stdout) })
	o.readers.Go(func() { o.read("stderr", stderr) })
	return o
}

func (o *capture) read(stream string, f *os.File) {
	r := bufio.NewReaderSize(f, maxLine)
	cut := false // inside a line that was too long
	for {
		line, err := r.ReadSlice('\n')
		_ = o.pace.WaitN(context.Background(), max(len(line), lineCost)) // it fits: maxLine is less than a second's share
		if len(line) > 0 && !cut {
			o.line(stream, line)
		}
		cut = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !cut {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				o.log.Warn("worker output is lost", "stream", stream, "error", err)
			}
			return
		}
	}
}

func (o *capture) line(stream string, b []byte) {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	o.mu.Lock()
	if len(o.last) == lastLines {
		o.last = append(o.last[:0], o.last[1:]...)
	}
	o.last = append(o.last, string(b))
	o.mu.Unlock()
	if !o.bytes.AllowN(time.Now(), len(b)) || !o.lines.Allow() {
		o.dropped.Add(1)
		return
	}
	o.log.InfoContext(logkind.OutputContext(), string(b), "stream", stream)
}

// tail returns the last lines written, oldest first.
func (o *capture) tail() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.last...)
}

// close closes our ends, which ends the readers even where a grandchild still
// holds the other ends.
func (o *capture) close() {
	for _, f := range o.files {
		f.Close()
	}
}
