package segment_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"understudy/shmregistry/segment"
)

// TestTheCellKeepsItsWord has owners follow each other at rising epochs, the
// one before still writing and committing whenever it likes, and holds the cell
// against a model that is one value.
func TestTheCellKeepsItsWord(t *testing.T) {
	const size = 16
	rapid.Check(t, func(rt *rapid.T) {
		s := mustMap(t, newFD(t, 3*size))
		var (
			owner, late *segment.Cell // late is the owner before, not fenced yet
			epoch       uint64
			committed   = make([]byte, size)
			generation  uint32
			built       []byte // what the owner has written since its last commit
		)
		rt.Repeat(map[string]func(*rapid.T){
			"take": func(rt *rapid.T) {
				epoch += rapid.Uint64Range(1, 3).Draw(rt, "step")
				if rapid.Bool().Draw(rt, "raise first") {
					require.NoError(t, s.Raise(epoch))
				}
				c, err := s.Cell(epoch, size)
				require.NoError(t, err)
				late, owner, built = owner, c, nil // the one before late is fenced by now
			},
			"take late": func(rt *rapid.T) {
				if epoch < 2 {
					rt.Skip("nobody is late")
				}
				_, err := s.Cell(rapid.Uint64Range(1, epoch-1).Draw(rt, "epoch"), size)
				require.ErrorIs(t, err, segment.ErrStale)
			},
			"take again": func(rt *rapid.T) {
				if owner == nil {
					rt.Skip("no owner")
				}
				again, err := s.Cell(epoch, size)
				require.NoError(t, err)
				owner = again
			},
			"build": func(rt *rapid.T) {
				if owner == nil {
					rt.Skip("no owner")
				}
				built = rapid.SliceOfN(rapid.Byte(), size, size).Draw(rt, "state")
				copy(owner.Next(), built)
			},
			"scribble": func(rt *rapid.T) {
				if late == nil {
					rt.Skip("nobody is late")
				}
				copy(late.Next()[rapid.IntRange(0, size-1).Draw(rt, "at"):], "scribble")
			},
			"commit": func(rt *rapid.T) {
				if built == nil {
					rt.Skip("nothing is built")
				}
				require.NoError(t, owner.Commit())
				committed, built = built, nil
				generation++
			},
			"commit late": func(rt *rapid.T) {
				if late == nil {
					rt.Skip("nobody is late")
				}
				require.ErrorIs(t, late.Commit(), segment.ErrStale)
			},
			"": func(rt *rapid.T) {
				got := make([]byte, size)
				g, err := s.ReadCell(size, got)
				require.NoError(t, err)
				require.Equal(t, generation, g)
				require.True(t, g == 0 || bytes.Equal(committed, got), "committed %x, read %x", committed, got)
				if owner != nil {
					current, g := owner.Current()
					require.Equal(t, generation, g)
					require.True(t, g == 0 || bytes.Equal(committed, current))
					require.True(t, built == nil || bytes.Equal(built, owner.Next()), "what the owner builds is disturbed")
				}
			},
		})
	})
}

func TestTheGenerationSkipsZero(t *testing.T) {
	fd := newFD(t, 48)
	s := mustMap(t, fd)
	c, err := s.Cell(1, 16)
	require.NoError(t, err)
	require.NoError(t, c.Commit())
	// The word with the highest generation, as a writer of years would leave it:
	// slot 1, avoid 2, epoch 1.
	poke(64, "\xf9\xff\xff\xff\x01\x00\x00\x00")(t, fd)
	c, err = s.Cell(1, 16)
	require.NoError(t, err)
	require.NoError(t, c.Commit())
	_, generation := c.Current()
	require.EqualValues(t, 1, generation)
}
