// Package progress tells somebody who waits for a benchmark how far it is.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// often is how often the line changes at most.
const often = 200 * time.Millisecond

// Line is a line that changes on a terminal. Elsewhere it is a line for each
// part of the work.
type Line struct {
	w        io.Writer
	terminal bool
	begun    time.Time
	shown    time.Time
	part     string
	done     float64
	total    float64
}

// New shows progress on w; total is the whole of the work, in any unit that is
// roughly even in time.
func New(w io.Writer, total float64) *Line {
	f, file := w.(*os.File)
	return &Line{w: w, terminal: file && term.IsTerminal(int(f.Fd())), begun: time.Now(), total: total}
}

// Part says what is being done now.
func (l *Line) Part(format string, args ...any) {
	l.part = fmt.Sprintf(format, args...)
	if !l.terminal {
		fmt.Fprintf(l.w, "%s  (%s)\n", l.part, l.left())
	}
	l.shown = time.Time{}
}

// Add says that so much of the work is done; detail is shown beside the part.
func (l *Line) Add(work float64, format string, args ...any) {
	l.done += work
	if !l.terminal || time.Since(l.shown) < often {
		return
	}
	l.shown = time.Now()
	fmt.Fprintf(l.w, "\r\x1b[K%s  %s  (%s)", l.part, fmt.Sprintf(format, args...), l.left())
}

// Print shows a line that stays.
func (l *Line) Print(format string, args ...any) {
	l.Clear()
	fmt.Fprintf(l.w, format+"\n", args...)
}

// Clear removes the line.
func (l *Line) Clear() {
	if l.terminal {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
}

// left is how far the whole is, and how long the rest takes at the same speed.
func (l *Line) left() string {
	share := min(l.done/l.total, 1)
	if share < 0.01 {
		return "0 %"
	}
	rest := time.Duration(float64(time.Since(l.begun)) * (1 - share) / share)
	return fmt.Sprintf("%.0f %%, about %v left", 100*share, rest.Round(time.Second))
}
