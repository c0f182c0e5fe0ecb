package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/shirou/gopsutil/v3/mem"

	"understudy/bench/internal/progress"
	"understudy/bench/internal/report"
)

// Rows measures the rows of a plan, one after the other. One that fails is
// noted and does not disturb the others.
type Rows struct {
	Report   *report.Report
	Progress *progress.Line
	failed   []error
}

// Skip notes why a row is not measured.
func (r *Rows) Skip(row any, work float64, why string) {
	r.Report.Note("%s: left out: %s", row, why)
	r.Progress.Add(work, "")
}

// Measure measures one. An error is the end of ctx, and of the plan.
func (r *Rows) Measure(ctx context.Context, row any, measure func() error) error {
	r.Progress.Part("%s", row)
	err := measure()
	if ctx.Err() != nil {
		r.Report.Note("interrupted")
		return context.Cause(ctx)
	}
	if err != nil {
		r.Progress.Print("%s: failed: %v", row, err)
		r.Report.Note("%s: failed: %v", row, err)
		r.failed = append(r.failed, errors.New(r.Report.Notes[len(r.Report.Notes)-1]))
	}
	return nil
}

// Err is what failed.
func (r *Rows) Err() error { return errors.Join(r.failed...) }

// NoRoom says why something of so many MiB cannot be measured, or "".
func NoRoom(mb int) (string, error) {
	memory, err := mem.VirtualMemory()
	if err != nil {
		return "", fmt.Errorf("available memory: %w", err)
	}
	const margin = 512
	have := int(memory.Available >> 20)
	if need := mb + margin; have < need {
		return fmt.Sprintf("needs %d MB of memory, %d are available", need, have), nil
	}
	return "", nil
}
