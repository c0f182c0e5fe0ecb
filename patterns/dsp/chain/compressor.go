package chain

import "math"

// Compression says what a compressor does. Levels and gains are in dB of full scale, times in seconds.
type Compression struct {
	Threshold, Ratio, Knee, MakeUp float64
	Attack, Release                float64
}

// Leveller is the compression of the chain.
func Leveller() Compression {
	return Compression{Threshold: -18, Ratio: 4, Knee: 6, MakeUp: 6, Attack: 0.005, Release: 0.15}
}

// Compressor is a feed-forward compressor, its gain the same for all channels: D. Giannoulis, M. Massberg, J. D. Reiss,
// "Digital Dynamic Range Compressor Design", Journal of the Audio Engineering Society 60 (6), 2012. The gain computer
// is its equation 4, with a soft knee, the detector its smooth decoupled peak detector, equation 17, in the log domain.
type Compressor struct {
	threshold, slope, knee, makeUp float32
	attack, release                float32
}

// Envelope is what the detector remembers, both in dB of gain reduction: the held peak, and the same after the attack.
type Envelope struct{ Held, Smooth float32 }

// floor is the level taken for silence, in dB.
const floor = -120

// NewCompressor returns the compressor for a compression.
func NewCompressor(c Compression) Compressor {
	coefficient := func(seconds float64) float32 { return float32(math.Exp(-1 / (seconds * Rate))) }
	return Compressor{
		threshold: float32(c.Threshold), slope: float32(1/c.Ratio - 1), knee: float32(c.Knee), makeUp: float32(c.MakeUp),
		attack: coefficient(c.Attack), release: coefficient(c.Release),
	}
}

// reduction is the static curve: by how many dB a level is lowered.
func (c *Compressor) reduction(level float32) float32 {
	over := level - c.threshold
	switch {
	case 2*over <= -c.knee:
		return 0
	case 2*over < c.knee:
		bend := over + float32(c.knee/2)
		return -float32(float32(c.slope*float32(bend*bend)) / float32(2*c.knee))
	}
	return -float32(c.slope * over)
}

// Tick follows a peak and returns the gain, as a factor.
func (c *Compressor) Tick(e *Envelope, peak float32) float32 {
	level := float32(floor)
	if peak > 1e-6 {
		level = float32(20 * math.Log10(float64(peak)))
	}
	now := c.reduction(level)
	e.Held = settle(max(now, float32(c.release*e.Held)+float32((1-c.release)*now)))
	e.Smooth = settle(float32(c.attack*e.Smooth) + float32((1-c.attack)*e.Held))
	return float32(math.Exp(float64(c.makeUp-e.Smooth) * (math.Ln10 / 20)))
}
