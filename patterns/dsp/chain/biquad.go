package chain

import "math"

// Bands is the number of filters in the equaliser bank.
const Bands = 5

// Biquad holds the coefficients of a second-order filter, normalised to a0 = 1.
type Biquad struct{ B0, B1, B2, A1, A2 float32 }

// Memory is what a biquad remembers of one channel: the two delays of the transposed direct form II.
type Memory struct{ Z1, Z2 float32 }

// Bank is the equaliser: a low shelf, three peaks, a high shelf.
func Bank() [Bands]Biquad {
	return [Bands]Biquad{
		LowShelf(100, 0.9, 4),
		Peak(250, 1.2, -3),
		Peak(1200, 0.8, 2.5),
		Peak(3500, 1.4, -2),
		HighShelf(9000, 0.8, 3),
	}
}

// The three designs are those of Robert Bristow-Johnson's "Audio EQ Cookbook"
// (https://www.w3.org/TR/audio-eq-cookbook/): frequency in Hz, gain in dB.

// Peak is a peaking equaliser of quality q.
func Peak(frequency, q, gain float64) Biquad {
	a := math.Pow(10, gain/40)
	sin, cos := math.Sincos(2 * math.Pi * frequency / Rate)
	alpha := sin / (2 * q)
	return normalised(1+alpha*a, -2*cos, 1-alpha*a, 1+alpha/a, -2*cos, 1-alpha/a)
}

// LowShelf raises or lowers what is below the frequency, with shelf slope s.
func LowShelf(frequency, s, gain float64) Biquad {
	a, cos, r := shelf(frequency, s, gain)
	return normalised(
		a*((a+1)-(a-1)*cos+r), 2*a*((a-1)-(a+1)*cos), a*((a+1)-(a-1)*cos-r),
		(a+1)+(a-1)*cos+r, -2*((a-1)+(a+1)*cos), (a+1)+(a-1)*cos-r)
}

// HighShelf raises or lowers what is above the frequency, with shelf slope s.
func HighShelf(frequency, s, gain float64) Biquad {
	a, cos, r := shelf(frequency, s, gain)
	return normalised(
		a*((a+1)+(a-1)*cos+r), -2*a*((a-1)+(a+1)*cos), a*((a+1)+(a-1)*cos-r),
		(a+1)-(a-1)*cos+r, 2*((a-1)-(a+1)*cos), (a+1)-(a-1)*cos-r)
}

// shelf returns the cookbook's A, cos w0 and 2*sqrt(A)*alpha.
func shelf(frequency, s, gain float64) (a, cos, r float64) {
	a = math.Pow(10, gain/40)
	sin, cos := math.Sincos(2 * math.Pi * frequency / Rate)
	alpha := sin / 2 * math.Sqrt((a+1/a)*(1/s-1)+2)
	return a, cos, 2 * math.Sqrt(a) * alpha
}

func normalised(b0, b1, b2, a0, a1, a2 float64) Biquad {
	return Biquad{float32(b0 / a0), float32(b1 / a0), float32(b2 / a0), float32(a1 / a0), float32(a2 / a0)}
}

// tick filters one sample.
func (q *Biquad) tick(m *Memory, x float32) float32 {
	y := float32(q.B0*x) + m.Z1
	m.Z1 = float32(q.B1*x) - float32(q.A1*y) + m.Z2
	m.Z2 = float32(q.B2*x) - float32(q.A2*y)
	return y
}

func (m *Memory) settle() { m.Z1, m.Z2 = settle(m.Z1), settle(m.Z2) }
