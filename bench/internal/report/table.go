package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes the rows as a table, times in milliseconds. The last two
// columns are the ratios of p50 and p95 to the row's floor.
func (r *Report) WriteTable(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s (ms)\n", r.Title); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, c := range r.Columns {
		fmt.Fprintf(t, "%s\t", c)
	}
	fmt.Fprintln(t, "p50\tp95\tp99\tmax\tn\tfailed\tp50/floor\tp95/floor\t")
	for _, row := range r.rows {
		for _, l := range row.Labels {
			fmt.Fprintf(t, "%s\t", l)
		}
		for _, p := range []float64{50, 95, 99} {
			fmt.Fprintf(t, "%s\t", row.cell(row.Quantile(p)))
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t\n", row.cell(row.Max()), row.N(), row.Failed, row.ratioCell(50), row.ratioCell(95))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range r.Notes {
		if _, err := fmt.Fprintf(w, "%s\n", n); err != nil {
			return err
		}
	}
	return nil
}

// WriteMarkdown writes the same table for a document.
func (r *Report) WriteMarkdown(w io.Writer) error {
	head := append(append([]string(nil), r.Columns...), "p50", "p95", "p99", "max", "n", "failed", "p50/floor", "p95/floor")
	if _, err := fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head))); err != nil {
		return err
	}
	for _, row := range r.rows {
		cells := append([]string(nil), row.Labels...)
		for _, p := range []float64{50, 95, 99} {
			cells = append(cells, row.cell(row.Quantile(p)))
		}
		cells = append(cells, row.cell(row.Max()), fmt.Sprint(row.N()), fmt.Sprint(row.Failed), row.ratioCell(50), row.ratioCell(95))
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")); err != nil {
			return err
		}
	}
	return nil
}

func (r *Row) cell(d time.Duration) string {
	if r.N() == 0 {
		return "-"
	}
	return milliseconds(d)
}

func (r *Row) ratioCell(p float64) string {
	ratio, ok := r.Ratio(p)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.1fx", ratio)
}

// milliseconds keeps three figures, and microseconds where there are few.
func milliseconds(d time.Duration) string {
	ms := float64(d) / 1e6
	switch {
	case ms >= 100:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	case ms >= 1:
		return fmt.Sprintf("%.2f", ms)
	}
	return fmt.Sprintf("%.3f", ms)
}
