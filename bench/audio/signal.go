package main

import (
	"math"
	"math/rand/v2"

	"understudy/patterns/dsp/chain"
)

// part is the length of each of the test signal's three parts, in frames.
const part = 4 * chain.Rate

// testSignal is twelve seconds: a chord, bursts with the rhythm and the spectrum of speech, a sweep from 40 Hz to
// 16 kHz. It is the same every time.
func testSignal() []chain.Block {
	out := make([]chain.Block, 3*part/chain.Frames)
	noise := rand.New(rand.NewPCG(4, 8))
	var low [chain.Channels]float64
	for f := range 3 * part {
		t := float64(f%part) / chain.Rate
		var s [chain.Channels]float64
		switch f / part {
		case 0:
			for i, hz := range []float64{220, 277.18, 329.63, 440} {
				s[i%2] += 0.12 * math.Sin(2*math.Pi*hz*t)
				s[(i+1)%2] += 0.06 * math.Sin(2*math.Pi*hz*t)
			}
		case 1:
			// Syllables, four a second; in each a buzz at the pitch of a voice, then a hiss.
			syllable := math.Mod(4*t, 1)
			loud := 0.5 * math.Pow(math.Sin(math.Pi*syllable), 2)
			for ch := range s {
				low[ch] += 0.3 * (noise.Float64()*2 - 1 - low[ch])
				for h := 1.0; h <= 12; h++ {
					s[ch] += 0.3 / h * math.Sin(2*math.Pi*120*h*t)
				}
				if syllable > 0.6 {
					s[ch] = low[ch]
				}
				s[ch] *= loud
			}
		case 2:
			const from, to, seconds = 40.0, 16000.0, part / chain.Rate
			k := math.Log(to/from) / seconds
			x := 0.3 * math.Sin(2*math.Pi*from*(math.Exp(k*t)-1)/k)
			s = [chain.Channels]float64{x, x}
		}
		fade := min(1, 50*t, 50*(part/chain.Rate-t))
		for ch := range s {
			out[f/chain.Frames][f%chain.Frames*chain.Channels+ch] = float32(fade * s[ch])
		}
	}
	return out
}

// reference is what an uninterrupted chain makes of n blocks of music that is repeated.
func reference(music []chain.Block, n int) []chain.Block {
	c, line, out := chain.New(), chain.NewLine(), make([]chain.Block, n)
	var state, next chain.State
	for i := range out {
		c.Process(&next, &state, line, &out[i], &music[i%len(music)])
		state = next
	}
	return out
}
