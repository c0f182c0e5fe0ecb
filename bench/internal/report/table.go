package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes the rows as a table, times in milliseconds: the quantiles,
// what p50 and p95 are more than the row's base, and their ratios to its floor.
func (r *Report) WriteTable(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s (ms)\n", r.Title); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, cells := range r.cells() {
		fmt.Fprintf(t, "%s\t\n", strings.Join(cells, "\t"))
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
func (r *Report) WriteMarkdown(w io.Writer) error { return writeMarkdown(w, r.cells()) }

// writeMarkdown writes cells, the first of which are the head.
func writeMarkdown(w io.Writer, table [][]string) error {
	for i, cells := range table {
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")); err != nil {
			return err
		}
		if i == 0 {
			if _, err := fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(cells))); err != nil {
				return err
			}
		}
	}
	return nil
}

// cells are the table's, its head first.
func (r *Report) cells() [][]string {
	basis := r.Basis
	if basis == "" {
		basis = "floor"
	}
	added := slices.ContainsFunc(r.rows, func(row *Row) bool { return row.Base != nil })
	head := append(slices.Clone(r.Columns), "p50", "p95", "p99", "max", "n", "failed")
	if added {
		head = append(head, "p50 added", "p95 added")
	}
	table := [][]string{append(head, "p50/"+basis, "p95/"+basis)}
	for _, row := range r.rows {
		cells := append(slices.Clone(row.Labels), row.cell(row.Quantile(50)), row.cell(row.Quantile(95)), row.cell(row.Quantile(99)),
			row.cell(row.Max()), fmt.Sprint(row.N()), fmt.Sprint(row.Failed))
		if added {
			cells = append(cells, row.addedCell(50), row.addedCell(95))
		}
		table = append(table, append(cells, row.ratioCell(50), row.ratioCell(95)))
	}
	return table
}

func (r *Row) cell(d time.Duration) string {
	if r.N() == 0 {
		return "-"
	}
	return milliseconds(d)
}

func (r *Row) addedCell(p float64) string {
	added, ok := r.Added(p)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%+.2f", inMS(added))
}

func (r *Row) ratioCell(p float64) string {
	ratio, ok := r.Ratio(p)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2fx", ratio)
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
