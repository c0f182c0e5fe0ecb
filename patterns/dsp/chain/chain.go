// Package chain is the signal processing of the dsp pattern: a biquad equaliser bank, a feed-forward compressor and a
// feedback delay, on stereo blocks.
//
// It is a pure function: output block n follows from the state before block n, input block n and the delay line, and
// is the same to the last bit in every process of one machine. Every product is therefore rounded by an explicit
// conversion before it is added, which forbids the compiler to fuse the two (Go specification, "Floating-point
// operators"). A block that is processed a second time, by a successor, writes the bits that are there already.
package chain

const (
	// Rate is the sampling rate in Hz.
	Rate = 48000
	// Channels is the number of channels, interleaved in a block.
	Channels = 2
	// Frames is the number of frames in a block: 5.33 ms.
	Frames = 256
	// Samples is the number of samples in a block.
	Samples = Frames * Channels
)

// Block is one block of interleaved samples; full scale is 1.
type Block = [Samples]float32

// State is what the chain keeps between blocks, the delay line aside. The zero value is the state before the first
// block. It has no pointers and no holes, so that it can lie in shared memory.
type State struct {
	// Block is the number of blocks done, and the number of the next.
	Block uint64
	// Refused counts the samples of the input that were none, see [Loudest].
	Refused  uint64
	Filters  [Bands][Channels]Memory
	Envelope Envelope
}

// Chain is a chain with its coefficients. It keeps nothing between blocks and may be used by several goroutines.
type Chain struct {
	bank       [Bands]Biquad
	compressor Compressor
	delay      Delay
}

// New returns the chain that every worker and its host use.
func New() *Chain {
	return &Chain{bank: Bank(), compressor: NewCompressor(Leveller()), delay: Echo()}
}

// Loudest is the largest magnitude that is taken for a sample, 24 dB above full scale. What is louder, or no number at
// all, is refused: silence takes its place. In filters and a delay that feed back it would never end, and every
// successor would inherit it.
const Loudest = 16

// Process computes one block. next becomes the state after it; state and in are only read. All of next and out is
// written, and of the line one block.
func (c *Chain) Process(next, state *State, line Line, out, in *Block) {
	*next = *state
	next.Block++
	at := int(state.Block * Frames % uint64(line.frames()))
	for i := 0; i < Samples; i += Channels {
		var s [Channels]float32
		for ch := range s {
			x := in[i+ch]
			if !(abs(x) <= Loudest) { // nor is NaN
				x = 0
				next.Refused++
			}
			for b := range c.bank {
				x = c.bank[b].tick(&next.Filters[b][ch], x)
			}
			s[ch] = x
		}
		gain := c.compressor.Tick(&next.Envelope, max(abs(s[0]), abs(s[1])))
		for ch := range s {
			out[i+ch] = c.delay.tick(line, at+i/Channels, ch, float32(s[ch]*gain))
		}
	}
	for b := range next.Filters {
		for ch := range next.Filters[b] {
			next.Filters[b][ch].settle()
		}
	}
}

func abs(x float32) float32 {
	if x < 0 {
		return -x
	}
	return x
}

// inaudible is a magnitude, -600 dB, below which a sample is taken for zero: as a tail fades, floats become subnormal,
// and those are slow to compute with.
const inaudible = 1e-30

func settle(x float32) float32 {
	if abs(x) < inaudible {
		return 0
	}
	return x
}
