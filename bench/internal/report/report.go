// Package report keeps what a benchmark measured and shows it: as a table for
// people, as JSON for programs (with the facts of the machine and the whole
// histograms), and as a picture of the distributions.
//
// A Report has named columns of labels, such as size, client and load; a Row is
// one distribution under its labels. A row may name the row that is its floor,
// the least that the same machine can do, measured in the same run: every
// output then has the ratio to it. It may also name a row as its base: what the
// same takes without what is measured. Every output then has the difference.
package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// longest is the longest time that a row records as it is; what is longer
	// counts as this.
	longest = 10 * time.Minute
	// figures is the number of significant figures that a histogram keeps.
	figures = 3
)

// Report is what one run of a benchmark measured.
type Report struct {
	// Title says what is measured, from when to when.
	Title string
	// Columns are the names of the labels that each row has.
	Columns []string
	// Source names the source of what is measured, Basis what Floor is; empty
	// is this program's, and "floor".
	Source, Basis string
	// Notes are sentences below the table, such as why a row is missing.
	Notes []string
	rows  []*Row
}

// New returns an empty report.
func New(title string, columns ...string) *Report {
	return &Report{Title: title, Columns: columns}
}

// Row is one distribution of times. It is not safe for use by several
// goroutines at once.
type Row struct {
	// Labels belong to the report's columns, in their order.
	Labels []string
	// Failed counts what failed beside the times recorded; what that is, a
	// note of the report should say.
	Failed int64
	// Floor is the row that this one is compared with, or nil.
	Floor *Row
	// Base is the row that this one is more than, or nil.
	Base *Row

	times *hdrhistogram.Histogram
}

// Row adds a row. It panics if there is not one label for each column.
func (r *Report) Row(labels ...string) *Row {
	if len(labels) != len(r.Columns) {
		panic(fmt.Sprintf("report %q: labels %q for columns %q", r.Title, labels, r.Columns))
	}
	row := &Row{Labels: labels, times: hdrhistogram.New(1, int64(longest), figures)}
	r.rows = append(r.rows, row)
	return row
}

// Rows returns the rows in the order in which they were added.
func (r *Report) Rows() []*Row { return slices.Clone(r.rows) }

// Note adds a sentence below the table: the first line of what it is given, as
// an error may show a whole log.
func (r *Report) Note(format string, args ...any) {
	line, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n")
	r.Notes = append(r.Notes, line)
}

// Record adds a time, with a resolution of 1 ns or of three figures. A negative
// one counts as 0, one above ten minutes as ten minutes.
func (r *Row) Record(d time.Duration) {
	// Within these bounds a histogram takes everything.
	_ = r.times.RecordValue(int64(min(max(d, 0), longest)))
}

// N returns how many times were recorded.
func (r *Row) N() int64 { return r.times.TotalCount() }

// Quantile returns the time that the share p (0 to 100) of all does not exceed;
// 0 if there are none.
func (r *Row) Quantile(p float64) time.Duration {
	return time.Duration(r.times.ValueAtQuantile(p))
}

// Max returns the longest time.
func (r *Row) Max() time.Duration { return time.Duration(r.times.Max()) }

// Ratio returns how many times the floor's quantile this row's is; false if
// there is nothing to compare.
func (r *Row) Ratio(p float64) (float64, bool) {
	if r.Floor == nil || r.N() == 0 || r.Floor.Quantile(p) == 0 {
		return 0, false
	}
	return float64(r.Quantile(p)) / float64(r.Floor.Quantile(p)), true
}

// Added returns by how much this row's quantile is above the base's; false if
// there is nothing to compare.
func (r *Row) Added(p float64) (time.Duration, bool) {
	if r.Base == nil || r.N() == 0 || r.Base.N() == 0 {
		return 0, false
	}
	return r.Quantile(p) - r.Base.Quantile(p), true
}

// name is the row's labels in the columns given, as one text.
func (r *Row) name(columns []int) string {
	var words []string
	for _, c := range columns {
		if r.Labels[c] != "" {
			words = append(words, r.Labels[c])
		}
	}
	return strings.Join(words, ", ")
}
