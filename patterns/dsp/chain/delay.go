package chain

const (
	// DelayFrames is the delay's time in frames: two seconds.
	DelayFrames = 2 * Rate
	// LineFrames is the length of a delay line in frames: one block more than the delay, so that a block does not read
	// what it writes, and can be repeated.
	LineFrames = DelayFrames + Frames
	// LineSamples is the length of a delay line in samples.
	LineSamples = LineFrames * Channels
)

// Line is a delay line, a ring of interleaved frames. Frame number f since the beginning lies at f modulo its length.
type Line []float32

// NewLine returns an empty line.
func NewLine() Line { return make(Line, LineSamples) }

func (l Line) frames() int { return len(l) / Channels }

// Delay is a feedback delay: an echo that comes back to its own input.
type Delay struct {
	frames        int
	feedback, wet float32
}

// Echo is the delay of the chain.
func Echo() Delay { return Delay{frames: DelayFrames, feedback: 0.4, wet: 0.35} }

// tick writes a channel's sample into the line's frame number at, and returns it with its echo.
func (d *Delay) tick(line Line, at, ch int, x float32) float32 {
	from := at - d.frames
	if from < 0 {
		from += line.frames()
	}
	echo := line[from*Channels+ch]
	line[at*Channels+ch] = settle(x + float32(d.feedback*echo))
	return x + float32(d.wet*echo)
}
