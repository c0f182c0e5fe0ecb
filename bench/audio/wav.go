package main

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/go-audio/audio"
	"github.com/go-audio/wav"

	"understudy/patterns/dsp/chain"
)

// The formats of samples in a WAV file (RFC 2361).
const (
	formatPCM   = 1
	formatFloat = 3
)

// readWAV reads a file of 48 kHz stereo, of 32-bit floats or of whole numbers. A last block is filled up with silence.
func readWAV(path string) ([]chain.Block, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := wav.NewDecoder(f)
	if !d.IsValidFile() {
		return nil, fmt.Errorf("%s: not a WAV file", path)
	}
	if d.SampleRate != chain.Rate || d.NumChans != chain.Channels {
		return nil, fmt.Errorf("%s: %d channels at %d Hz, expected %d at %d", path, d.NumChans, d.SampleRate, chain.Channels, chain.Rate)
	}
	float := d.WavAudioFormat == formatFloat && d.BitDepth == 32
	if !float && (d.WavAudioFormat != formatPCM || d.BitDepth < 16) {
		return nil, fmt.Errorf("%s: samples of format %d with %d bits, expected whole numbers of 16 to 32 bits or floats of 32", path, d.WavAudioFormat, d.BitDepth)
	}
	b, err := d.FullPCMBuffer()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(b.Data) == 0 {
		return nil, fmt.Errorf("%s: no sample", path)
	}
	out := make([]chain.Block, (len(b.Data)+chain.Samples-1)/chain.Samples)
	scale := float32(math.Ldexp(1, 1-int(d.BitDepth)))
	for i, v := range b.Data {
		x := float32(v) * scale
		if float { // the library reads 32 bits, whatever they mean
			x = math.Float32frombits(uint32(v))
		}
		out[i/chain.Samples][i%chain.Samples] = x
	}
	return out, nil
}

// writeWAV writes 32-bit floats, so that the file has every bit.
func writeWAV(path string, blocks []chain.Block) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	e := wav.NewEncoder(f, chain.Rate, 32, chain.Channels, formatFloat)
	b := &audio.IntBuffer{Format: &audio.Format{NumChannels: chain.Channels, SampleRate: chain.Rate}, SourceBitDepth: 32, Data: make([]int, chain.Samples)}
	for i := range blocks {
		for j, x := range blocks[i] {
			b.Data[j] = int(int32(math.Float32bits(x)))
		}
		if err := e.Write(b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
