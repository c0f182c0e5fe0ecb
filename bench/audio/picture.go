package main

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"math/cmplx"
	"os"

	"gonum.org/v1/gonum/dsp/fourier"
	"gonum.org/v1/gonum/dsp/window"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"understudy/patterns/dsp/chain"
)

const (
	// before and after are how much of the music around a kill is shown, in frames.
	before, after = chain.Rate * 6 / 100, chain.Rate * 14 / 100
	// fftSize and hop are the spectrogram's, in frames; it shows magnitudes down to quietest, in dB.
	fftSize, hop = 1024, 64
	quietest     = -90.0
	highest      = 12000.0 // Hz
)

// scene is the sound of the left channel around a kill, and what is said above it.
type scene struct {
	title   string
	samples []float64
}

// around shows, of the kills that are in both takes, the one with the most late blocks, or the longest block where none
// was late.
func around(r *result, t *take, title string) scene {
	worst := r.Kills[0]
	for _, k := range r.Kills[:min(forPicture, len(r.Kills))] {
		if k.Late > worst.Late || k.Late == worst.Late && k.Worst > worst.Worst {
			worst = k
		}
	}
	s := scene{title: fmt.Sprintf("%s: %s, %d blocks lost", title, worst.Signal, worst.Late)}
	from := int(worst.At.Seconds()*chain.Rate) - before
	for f := from; f < from+before+after; f++ {
		x := 0.0
		if f >= 0 && f/chain.Frames < len(t.out) {
			x = float64(t.out[f/chain.Frames][f%chain.Frames*chain.Channels])
		}
		s.samples = append(s.samples, x)
	}
	return s
}

// drawKills writes a PNG: for each scene its waveform above its spectrogram.
func drawKills(path string, scenes ...scene) error {
	plots := make([][]*plot.Plot, 2)
	for _, s := range scenes {
		w, err := s.waveform()
		if err != nil {
			return err
		}
		plots[0] = append(plots[0], w)
		plots[1] = append(plots[1], s.spectrogram())
	}
	canvas := vgimg.NewWith(vgimg.UseWH(26*vg.Centimeter, 14*vg.Centimeter), vgimg.UseDPI(100))
	tiles := draw.Tiles{Rows: 2, Cols: len(scenes), PadX: vg.Centimeter / 2, PadY: vg.Centimeter / 2,
		PadTop: vg.Centimeter / 4, PadBottom: vg.Centimeter / 4, PadLeft: vg.Centimeter / 4, PadRight: vg.Centimeter / 2}
	for row, canvases := range plot.Align(plots, tiles, draw.New(canvas)) {
		for col, c := range canvases {
			plots[row][col].Draw(c)
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(f); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

func at(frame int) float64 { return float64(frame-before) / chain.Rate * 1000 }

func (s scene) waveform() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = s.title
	p.Y.Label.Text = "left channel"
	points := make(plotter.XYs, len(s.samples))
	for i, x := range s.samples {
		points[i] = plotter.XY{X: at(i), Y: x}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, err
	}
	line.Color, line.Width = color.RGBA{0x00, 0x72, 0xB2, 0xFF}, vg.Points(0.4)
	mark, err := plotter.NewLine(plotter.XYs{{X: 0, Y: -1}, {X: 0, Y: 1}})
	if err != nil {
		return nil, err
	}
	mark.Color, mark.Width = color.RGBA{0xD5, 0x5E, 0x00, 0xFF}, vg.Points(1.2)
	p.Add(line, mark)
	p.Y.Min, p.Y.Max = -1, 1
	p.X.Min, p.X.Max = at(0), at(len(s.samples))
	return p, nil
}

func (s scene) spectrogram() *plot.Plot {
	fft := fourier.NewFFT(fftSize)
	columns := (len(s.samples) - fftSize) / hop
	rows := int(highest * fftSize / chain.Rate)
	img := image.NewRGBA(image.Rect(0, 0, columns, rows))
	for c := range columns {
		frame := window.Hann(append([]float64(nil), s.samples[c*hop:c*hop+fftSize]...))
		for r, x := range fft.Coefficients(nil, frame)[:rows] {
			level := 20 * math.Log10(cmplx.Abs(x)/(fftSize/4)+1e-12)
			img.Set(c, rows-1-r, shade(1-level/quietest))
		}
	}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "ms from the kill", "kHz"
	p.Add(plotter.NewImage(img, at(fftSize/2), 0, at(fftSize/2+columns*hop), highest/1000))
	p.X.Min, p.X.Max = at(0), at(len(s.samples))
	return p
}

// shade goes from black over red and yellow to white.
func shade(x float64) color.Color {
	part := func(from float64) uint8 { return uint8(255 * min(1, max(0, 3*(x-from)))) }
	return color.RGBA{part(0), part(1.0 / 3), part(2.0 / 3), 255}
}
