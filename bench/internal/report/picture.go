package report

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	panelWidth  = 15 * vg.Centimeter
	panelHeight = 9 * vg.Centimeter
	headHeight  = 1.2 * vg.Centimeter
	// across is how many panels stand side by side.
	across = 2
	// legendShare is the legend's width as a share of the curves'.
	legendShare = 0.35
)

// palette is Okabe and Ito's, which colour-blind readers can tell apart
// (https://jfly.uni-koeln.de/color/). Black is the floor's.
var palette = [...]color.RGBA{
	{0x00, 0x72, 0xB2, 0xFF}, {0xD5, 0x5E, 0x00, 0xFF}, {0x00, 0x9E, 0x73, 0xFF}, {0xCC, 0x79, 0xA7, 0xFF},
	{0xE6, 0x9F, 0x00, 0xFF}, {0x56, 0xB4, 0xE9, 0xFF}, {0x80, 0x80, 0x80, 0xFF},
}

// ErrNothing means that there is nothing to be drawn.
var ErrNothing = errors.New("no row has a time")

// panel is one plot: the rows whose labels in the panel's columns agree.
type panel struct {
	name string
	rows []*Row
}

// WriteSVG draws for each row which share of its times is at most so long:
// time to the right on a logarithmic scale, the share upwards on a scale that
// gives each further nine the same room. Rows with the same labels in the
// columns named by panels share a panel, where their floors are dashed. Without
// any time the error is ErrNothing.
func (r *Report) WriteSVG(w io.Writer, panels ...string) error {
	var split, rest []int
	for i, c := range r.Columns {
		if slices.Contains(panels, c) {
			split = append(split, i)
		} else {
			rest = append(rest, i)
		}
	}
	var groups []*panel
	low, high, most := math.Inf(1), math.Inf(-1), int64(1)
	floors := r.floors()
	for _, row := range r.rows {
		if row.N() == 0 || slices.Contains(floors, row) && len(floors) < len(r.rows) {
			continue
		}
		for _, shown := range []*Row{row, row.Floor} {
			if shown != nil && shown.N() > 0 {
				low, high = min(low, inMS(shown.Quantile(0))), max(high, inMS(shown.Max()))
			}
		}
		most = max(most, row.N())
		name := row.name(split)
		i := slices.IndexFunc(groups, func(p *panel) bool { return p.name == name })
		if i < 0 {
			groups = append(groups, &panel{name: name})
			i = len(groups) - 1
		}
		groups[i].rows = append(groups[i].rows, row)
	}
	if len(groups) == 0 {
		return fmt.Errorf("picture of %q: %w", r.Title, ErrNothing)
	}
	cols := min(across, len(groups))
	tiles := draw.Tiles{Cols: cols, Rows: (len(groups) + cols - 1) / cols,
		PadX: vg.Centimeter / 2, PadY: vg.Centimeter / 2, PadRight: vg.Centimeter / 2, PadLeft: vg.Millimeter, PadBottom: vg.Millimeter}
	plots := make([][]*plot.Plot, tiles.Rows)
	for y := range plots {
		plots[y] = make([]*plot.Plot, cols)
	}
	for i, g := range groups {
		p, err := g.plot(rest, max(low, 1e-4), high, most)
		if err != nil {
			return fmt.Errorf("picture of %q: %w", r.Title, err)
		}
		plots[i/cols][i%cols] = p
	}

	canvas := vgsvg.New(panelWidth*vg.Length(cols), panelHeight*vg.Length(tiles.Rows)+headHeight)
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	head := plots[0][0].Title.TextStyle
	head.Font.Size = 15
	head.YAlign = draw.YTop
	all.FillText(head, vg.Point{X: all.Center().X, Y: all.Max.Y - 3*vg.Millimeter}, r.Title)
	body := draw.Crop(all, 0, 0, 0, -headHeight)
	for y, row := range plot.Align(plots, tiles, body) {
		for x, c := range row {
			if plots[y][x] != nil {
				plots[y][x].Draw(c)
			}
		}
	}
	_, err := canvas.WriteTo(w)
	return err
}

// plot draws one panel. Every panel of a picture has the same scales.
func (g *panel) plot(columns []int, low, high float64, most int64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = g.name
	p.Title.TextStyle.Font.Size = font.Length(12)
	p.X.Label.Text = "ms"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades{}
	p.X.Min = low / 1.1
	p.X.Max = high * math.Pow(high/low, legendShare) * 1.1 // the legend stands to the right of every curve
	p.Y.Label.Text = "share not above"
	p.Y.Tick.Marker = ninesTicks{}
	p.Y.Min, p.Y.Max = 0, nines(1-0.4/float64(most))
	p.Legend.TextStyle.Font.Size = 9
	p.Legend.YOffs = vg.Millimeter
	p.Add(plotter.NewGrid())

	var floors []*Row
	for i, row := range g.rows {
		style := draw.LineStyle{Color: palette[i%len(palette)], Width: vg.Points(1.6)}
		if i >= len(palette) {
			style.Dashes = []vg.Length{vg.Points(1), vg.Points(2)}
		}
		if err := add(p, row, style, row.name(columns)); err != nil {
			return nil, err
		}
		if f := row.Floor; f != nil && f.N() > 0 && !slices.Contains(floors, f) && !slices.Contains(g.rows, f) {
			floors = append(floors, f)
		}
	}
	for i, f := range floors {
		gap := vg.Points(float64(2 + 3*i))
		style := draw.LineStyle{Color: color.Black, Width: vg.Points(1.2), Dashes: []vg.Length{vg.Points(5), gap}}
		if err := add(p, f, style, f.name(allOf(f.Labels))); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func add(p *plot.Plot, row *Row, style draw.LineStyle, name string) error {
	line, err := plotter.NewLine(row.curve())
	if err != nil {
		return fmt.Errorf("row %s: %w", strings.Join(row.Labels, ", "), err)
	}
	line.LineStyle = style
	p.Add(line)
	p.Legend.Add(name, line)
	return nil
}

// curve has a point for each bar of the histogram, in its middle rank.
func (r *Row) curve() plotter.XYs {
	var points plotter.XYs
	var before int64
	for _, bar := range r.times.Distribution() {
		if bar.Count == 0 {
			continue
		}
		rank := float64(before) + float64(bar.Count)/2
		points = append(points, plotter.XY{X: max(float64(bar.To)/1e6, 1e-4), Y: nines(rank / float64(r.N()))})
		before += bar.Count
	}
	return points
}

// floors are the rows that others are compared with.
func (r *Report) floors() []*Row {
	var floors []*Row
	for _, row := range r.rows {
		if row.Floor != nil {
			floors = append(floors, row.Floor)
		}
	}
	return floors
}

// nines is the scale of shares: 0.9 is 1, 0.99 is 2, and so on.
func nines(share float64) float64 { return -math.Log10(1 - share) }

type ninesTicks struct{}

// Ticks marks the shares that people ask for.
func (ninesTicks) Ticks(_, top float64) []plot.Tick {
	var ticks []plot.Tick
	for _, t := range []struct {
		share float64
		label string
	}{{0, "0"}, {0.5, "50 %"}, {0.75, "75 %"}, {0.9, "90 %"}, {0.95, "95 %"}, {0.99, "99 %"}, {0.999, "99.9 %"}, {0.9999, "99.99 %"}} {
		if y := nines(t.share); y <= top {
			ticks = append(ticks, plot.Tick{Value: y, Label: t.label})
		}
	}
	return ticks
}

type decades struct{}

// Ticks marks 1, 2 and 5 of each decade.
func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for unit := math.Pow(10, math.Floor(math.Log10(low))); unit <= high; unit *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if v := m * unit; v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.3g", v)})
			}
		}
	}
	return ticks
}

func allOf(labels []string) []int {
	all := make([]int, len(labels))
	for i := range all {
		all[i] = i
	}
	return all
}
