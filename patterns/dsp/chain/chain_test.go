package chain_test

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/patterns/dsp/chain"
)

// noise is n blocks of noise with a changing level, the same for the same seed.
func noise(seed uint64, n int) []chain.Block {
	r := rand.New(rand.NewPCG(seed, 1))
	blocks := make([]chain.Block, n)
	for b := range blocks {
		level := r.Float32()
		for i := range blocks[b] {
			blocks[b][i] = level * (2*r.Float32() - 1)
		}
	}
	return blocks
}

func play(in []chain.Block) []chain.Block {
	c, line, out := chain.New(), chain.NewLine(), make([]chain.Block, len(in))
	var state, next chain.State
	for n := range in {
		c.Process(&next, &state, line, &out[n], &in[n])
		state = next
	}
	return out
}

// TestARepeatedBlockIsTheSame repeats blocks from the state before them, whole and cut off anywhere, as a successor of
// a killed worker does.
func TestARepeatedBlockIsTheSame(t *testing.T) {
	const blocks = 900 // more than twice around the delay line
	in := noise(1, blocks)
	want := play(in)
	c, line := chain.New(), chain.NewLine()
	r := rand.New(rand.NewPCG(2, 2))
	var state, next chain.State
	for n := range in {
		for range r.IntN(3) {
			// Whatever a killed worker wrote of the block is in the line, and nowhere else that counts.
			part := append(chain.Line(nil), line...)
			var discarded chain.State
			var out chain.Block
			c.Process(&discarded, &state, part, &out, &in[n])
			at := n * chain.Frames % chain.LineFrames * chain.Channels
			copy(line[at:at+r.IntN(chain.Samples+1)], part[at:])
		}
		var out chain.Block
		before := state
		c.Process(&next, &state, line, &out, &in[n])
		require.Equal(t, before, state)
		require.Equal(t, want[n], out, "block %d", n)
		require.Equal(t, uint64(n+1), next.Block)
		state = next
	}
}

func TestSilenceStaysSilenceAndTailsEnd(t *testing.T) {
	require.Equal(t, make([]chain.Block, 800), play(make([]chain.Block, 800)))
	c, line := chain.New(), chain.NewLine()
	var state, next chain.State
	in := noise(3, 1)[0]
	for i := range in {
		in[i] *= 1e-20 // 400 dB of the way down
	}
	for range 13_000 { // 70 s; the echo falls by 8 dB each 2 seconds
		var out chain.Block
		c.Process(&next, &state, line, &out, &in)
		state, in = next, chain.Block{}
	}
	require.Equal(t, [chain.Bands][chain.Channels]chain.Memory{}, state.Filters)
	for _, x := range line {
		require.True(t, x == 0 || math.Abs(float64(x)) >= 1e-30)
	}
}

// A sample that is none changes nothing but its own place, for ever.
func TestWhatIsNoSampleIsSilence(t *testing.T) {
	bad := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e38, -1.01 * chain.Loudest}
	in := noise(4, 800)
	for i := range bad {
		in[3][7*i] = 0
	}
	in[3][100] = chain.Loudest // loud, and one
	want := play(in)
	for i, x := range bad {
		in[3][7*i] = float32(x)
	}
	require.Equal(t, want, play(in))
	var state, next chain.State
	var out chain.Block
	chain.New().Process(&next, &state, chain.NewLine(), &out, &in[3])
	require.EqualValues(t, len(bad), next.Refused)
}

// response is the gain of a filter at a frequency, in dB, from its transfer function.
func response(q chain.Biquad, frequency float64) float64 {
	z := cmplx.Exp(complex(0, -2*math.Pi*frequency/chain.Rate))
	c := func(x float32) complex128 { return complex(float64(x), 0) }
	h := (c(q.B0) + c(q.B1)*z + c(q.B2)*z*z) / (1 + c(q.A1)*z + c(q.A2)*z*z)
	return 20 * math.Log10(cmplx.Abs(h))
}

func TestFiltersMeetTheirDesign(t *testing.T) {
	for _, tt := range []struct {
		name          string
		q             chain.Biquad
		at, want, tol float64
	}{
		{"peak at its centre", chain.Peak(1000, 1, 6), 1000, 6, 0.01},
		{"peak far below", chain.Peak(1000, 1, 6), 10, 0, 0.01},
		{"peak at half the sampling rate", chain.Peak(1000, 1, 6), chain.Rate / 2, 0, 0.01},
		{"cut at its centre", chain.Peak(250, 1.2, -3), 250, -3, 0.01},
		{"low shelf at zero", chain.LowShelf(200, 1, 5), 0, 5, 0.01},
		{"low shelf at its middle", chain.LowShelf(200, 1, 5), 200, 2.5, 0.01},
		{"low shelf far above", chain.LowShelf(200, 1, 5), 20_000, 0, 0.01},
		{"high shelf at half the sampling rate", chain.HighShelf(8000, 1, -4), chain.Rate / 2, -4, 0.01},
		{"high shelf at its middle", chain.HighShelf(8000, 1, -4), 8000, -2, 0.01},
		{"high shelf far below", chain.HighShelf(8000, 1, -4), 20, 0, 0.01},
	} {
		require.InDelta(t, tt.want, response(tt.q, tt.at), tt.tol, tt.name)
	}
}

// TestBankIsWhatItsFormulasSay plays quiet sines, which the compressor leaves alone but for its make-up gain, and holds
// the level that comes out before the first echo against the transfer functions.
func TestBankIsWhatItsFormulasSay(t *testing.T) {
	for _, frequency := range []float64{60, 100, 250, 700, 1200, 3500, 9000, 15000} {
		want := chain.Leveller().MakeUp
		for _, q := range chain.Bank() {
			want += response(q, frequency)
		}
		const amplitude, blocks = 0.01, 300
		in := make([]chain.Block, blocks)
		for f := range blocks * chain.Frames {
			x := float32(amplitude * math.Sin(2*math.Pi*frequency*float64(f)/chain.Rate))
			in[f/chain.Frames][f%chain.Frames*2], in[f/chain.Frames][f%chain.Frames*2+1] = x, x
		}
		require.InDelta(t, want, level(play(in)[150:])-decibels(amplitude/math.Sqrt2), 0.05, "%v Hz", frequency)
	}
}

// TestCompressorCurve plays a steady tone at each level and holds the level that comes out against the straight parts
// of the curve and the middle of its knee.
func TestCompressorCurve(t *testing.T) {
	l := chain.Leveller()
	c := chain.NewCompressor(l)
	for _, tt := range []struct{ in, want float64 }{
		{-60, -60}, {l.Threshold - l.Knee/2, l.Threshold - l.Knee/2},
		{l.Threshold, l.Threshold + (1/l.Ratio-1)*l.Knee/8},
		{l.Threshold + 6, l.Threshold + 6/l.Ratio}, {0, l.Threshold - l.Threshold/l.Ratio},
	} {
		var e chain.Envelope
		peak, gain := float32(math.Pow(10, tt.in/20)), float32(0)
		for range 5 * chain.Rate / 10 {
			gain = c.Tick(&e, peak)
		}
		require.InDelta(t, tt.want+l.MakeUp, decibels(float64(peak*gain)), 0.01, "%v dB", tt.in)
	}
	// The attack reaches 1-1/e of the reduction after its time; the peak is held meanwhile.
	var e chain.Envelope
	for range int(l.Attack * chain.Rate) {
		c.Tick(&e, 1)
	}
	require.InDelta(t, (1-1/math.E)*-l.Threshold*(1-1/l.Ratio), float64(e.Smooth), 0.02)
	for range int(l.Release * chain.Rate) {
		c.Tick(&e, 0)
	}
	require.InDelta(t, 1/math.E*-l.Threshold*(1-1/l.Ratio), float64(e.Held), 0.02)
}

// TestEchoesComeEveryTwoSeconds plays one quiet click.
func TestEchoesComeEveryTwoSeconds(t *testing.T) {
	in := make([]chain.Block, 3*chain.DelayFrames/chain.Frames+20)
	in[10][6] = 0.01 // left only
	out := play(in)
	at := func(frame, ch int) float64 { return float64(out[frame/chain.Frames][frame%chain.Frames*2+ch]) }
	click := 10*chain.Frames + 3
	direct := at(click, 0)
	require.NotZero(t, direct)
	require.InDelta(t, 0.35*direct, at(click+chain.DelayFrames, 0), 1e-8)
	require.InDelta(t, 0.35*0.4*direct, at(click+2*chain.DelayFrames, 0), 1e-8)
	require.InDelta(t, 0.35*0.4*0.4*direct, at(click+3*chain.DelayFrames, 0), 1e-8)
	require.Zero(t, at(click+chain.DelayFrames-1, 0))
	require.Zero(t, at(click+chain.DelayFrames, 1))
}

func decibels(x float64) float64 { return 20 * math.Log10(x) }

// level is the root mean square of blocks, in dB.
func level(blocks []chain.Block) float64 {
	sum := 0.0
	for b := range blocks {
		for _, x := range blocks[b] {
			sum += float64(x) * float64(x)
		}
	}
	return decibels(math.Sqrt(sum / float64(len(blocks)*chain.Samples)))
}

func BenchmarkBlock(b *testing.B) {
	in, line, c := noise(1, 1)[0], chain.NewLine(), chain.New()
	var state, next chain.State
	var out chain.Block
	b.ReportAllocs()
	for b.Loop() {
		c.Process(&next, &state, line, &out, &in)
		state = next
	}
}
