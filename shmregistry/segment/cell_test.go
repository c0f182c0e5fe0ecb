package segment_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/shmregistry/segment"
)

func TestCommitPublishesAsAWhole(t *testing.T) {
	fd := newFD(t, 30)
	s, reader := mustMap(t, fd), mustMap(t, fd)
	c, err := s.Cell(1, 10)
	require.NoError(t, err)
	_, generation := c.Current()
	require.Zero(t, generation)

	dst := make([]byte, 10)
	generation, err = reader.ReadCell(10, dst)
	require.NoError(t, err)
	require.Zero(t, generation)

	for i := range uint32(7) {
		copy(c.Next(), "state   "+string('0'+rune(i))+"!")
		if i > 0 {
			_, err = reader.ReadCell(10, dst)
			require.NoError(t, err)
			require.Equal(t, "state   "+string('0'+rune(i-1))+"!", string(dst), "what is being built is not seen")
		}
		require.NoError(t, c.Commit())
		generation, err = reader.ReadCell(10, dst)
		require.NoError(t, err)
		require.Equal(t, i+1, generation)
		slot, generation := c.Current()
		require.Equal(t, i+1, generation)
		require.Equal(t, string(slot), string(dst))
	}
}

func TestALateWriterPublishesNothingAndDisturbsNothing(t *testing.T) {
	fd := newFD(t, 30)
	old, heir := mustMap(t, fd), mustMap(t, fd)
	require.NoError(t, old.Raise(1))
	first, err := old.Cell(1, 10)
	require.NoError(t, err)
	copy(first.Next(), "committed!")
	require.NoError(t, first.Commit())
	copy(first.Next(), "half of th")

	require.NoError(t, heir.Raise(2))
	second, err := heir.Cell(2, 10)
	require.NoError(t, err)
	slot, generation := second.Current()
	require.Equal(t, "committed!", string(slot))
	require.EqualValues(t, 1, generation)

	for i := range 9 {
		copy(second.Next(), "successor"+string('0'+rune(i)))
		copy(first.Next(), "scribbling")
		require.ErrorIs(t, first.Commit(), segment.ErrStale)
		require.NoError(t, second.Commit())
		copy(first.Next(), "scribbled!")
		slot, _ = second.Current()
		require.Equal(t, "successor"+string('0'+rune(i)), string(slot))
	}
	_, err = old.Cell(1, 10)
	require.ErrorIs(t, err, segment.ErrStale)
}

func TestTheCellAloneFencesToo(t *testing.T) {
	s := mustMap(t, newFD(t, 30))
	first, err := s.Cell(4, 10)
	require.NoError(t, err)
	_, err = s.Cell(5, 10) // by somebody who did not raise the segment's epoch
	require.NoError(t, err)
	require.ErrorIs(t, first.Commit(), segment.ErrStale)
	_, err = s.Cell(4, 10)
	require.ErrorIs(t, err, segment.ErrStale)
}

func TestTakingACellAgainAtTheSameEpochGoesOn(t *testing.T) {
	s := mustMap(t, newFD(t, 30))
	c, err := s.Cell(4, 10)
	require.NoError(t, err)
	copy(c.Next(), "0123456789")
	require.NoError(t, c.Commit())
	again, err := s.Cell(4, 10)
	require.NoError(t, err)
	slot, generation := again.Current()
	require.Equal(t, "0123456789", string(slot))
	require.EqualValues(t, 1, generation)
}

func TestCellRefusesBadInput(t *testing.T) {
	fd := newFD(t, 30)
	s := mustMap(t, fd)
	for _, size := range []int{0, -1, 11, 1 << 62} {
		_, err := s.Cell(1, size)
		require.ErrorIs(t, err, segment.ErrLayout, size)
		_, err = s.ReadCell(size, make([]byte, 30))
		require.ErrorIs(t, err, segment.ErrLayout, size)
	}
	for _, epoch := range []uint64{0, segment.MaxEpoch + 1} {
		_, err := s.Cell(epoch, 10)
		require.ErrorIs(t, err, segment.ErrLayout, epoch)
	}
	_, err := s.ReadCell(10, make([]byte, 9))
	require.ErrorIs(t, err, segment.ErrLayout)

	_, err = s.Cell(1, 10)
	require.NoError(t, err)
	_, err = s.Cell(2, 9)
	require.ErrorContains(t, err, "cell with slots of 10 bytes, ours has 9")
	_, err = s.ReadCell(9, make([]byte, 9))
	require.ErrorIs(t, err, segment.ErrLayout)

	poke(64, "\x05")(t, fd) // slot and avoid are the same
	_, err = s.Cell(2, 10)
	require.ErrorContains(t, err, "cell word")
	_, err = s.ReadCell(10, make([]byte, 10))
	require.ErrorContains(t, err, "cell word")
}

// Epochs may be as high as a supervisor gives them: the time in milliseconds,
// where it lost count. The cell follows them all.
func TestACellOfHighEpochs(t *testing.T) {
	fd := newFD(t, 100)
	s := mustMap(t, fd)
	owners := []uint64{1, 5, 1 << 32, 1_764_500_000_000, 1_764_500_000_001, 1<<41 + 7, segment.MaxEpoch}
	var before *segment.Cell
	for i, epoch := range owners {
		c, err := s.Cell(epoch, 8)
		require.NoError(t, err, epoch)
		require.Equal(t, epoch, s.Epoch())
		state, generation := c.Current()
		require.EqualValues(t, i, generation)
		if before != nil {
			require.Equal(t, "the work", string(state))
			require.ErrorIs(t, before.Commit(), segment.ErrStale)
			_, err = s.Cell(owners[i-1], 8)
			require.ErrorIs(t, err, segment.ErrStale)
		}
		copy(c.Next(), "the work")
		require.NoError(t, c.Commit())
		before = c
	}
	poke(68, "\xff\xff\xff\xff")(t, fd) // a mark that nobody has stops nobody
	_, err := s.Cell(segment.MaxEpoch, 8)
	require.NoError(t, err)
}
