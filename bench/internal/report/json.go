package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

type document struct {
	Title   string        `json:"title"`
	Source  string        `json:"source,omitempty"`
	Machine Machine       `json:"machine"`
	Rows    []documentRow `json:"rows"`
	Notes   []string      `json:"notes,omitempty"`
}

type documentRow struct {
	Labels map[string]string `json:"labels"`
	N      int64             `json:"n"`
	Failed int64             `json:"failed"`
	P50    float64           `json:"p50_ms"`
	P95    float64           `json:"p95_ms"`
	P99    float64           `json:"p99_ms"`
	Max    float64           `json:"max_ms"`
	// Of p50 and p95 to the floor's.
	FloorP50 float64 `json:"p50_floor_ratio,omitempty"`
	FloorP95 float64 `json:"p95_floor_ratio,omitempty"`
	// Of p50 and p95 to the base's.
	AddedP50 *float64 `json:"p50_added_ms,omitempty"`
	AddedP95 *float64 `json:"p95_added_ms,omitempty"`
	// The whole distribution in nanoseconds, as HdrHistogram writes it
	// (V2, compressed, base64): its tools and libraries read it.
	Histogram string `json:"histogram,omitempty"`
}

// WriteJSON writes the machine, every row with its labels by column name, and
// the whole histograms.
func (r *Report) WriteJSON(w io.Writer) error {
	d := document{Title: r.Title, Source: r.Source, Machine: ThisMachine(), Rows: []documentRow{}, Notes: r.Notes}
	for _, row := range r.rows {
		j := documentRow{Labels: map[string]string{}, N: row.N(), Failed: row.Failed,
			P50: inMS(row.Quantile(50)), P95: inMS(row.Quantile(95)), P99: inMS(row.Quantile(99)), Max: inMS(row.Max())}
		for i, c := range r.Columns {
			j.Labels[c] = row.Labels[i]
		}
		j.FloorP50, _ = row.Ratio(50)
		j.FloorP95, _ = row.Ratio(95)
		if p50, ok := row.Added(50); ok {
			p95, _ := row.Added(95)
			j.AddedP50, j.AddedP95 = new(inMS(p50)), new(inMS(p95))
		}
		if row.N() > 0 {
			text, err := row.times.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
			if err != nil {
				return fmt.Errorf("histogram of %s: %w", row.Labels, err)
			}
			j.Histogram = string(text)
		}
		d.Rows = append(d.Rows, j)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

func inMS(d time.Duration) float64 { return float64(d) / 1e6 }
