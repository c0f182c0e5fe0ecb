package segment_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/shmregistry/segment"
)

func TestTwoMappingsShareDataAndEpoch(t *testing.T) {
	fd := newFD(t, 1000)
	a, b := mustMap(t, fd), mustMap(t, fd)
	require.EqualValues(t, 1000, a.Size())
	require.Len(t, a.Data(), 1000)
	require.Zero(t, a.Epoch())

	copy(a.Data(), "hello")
	require.Equal(t, "hello", string(b.Data()[:5]))
	require.NoError(t, a.Raise(3))
	require.EqualValues(t, 3, b.Epoch())
	require.NoError(t, b.Raise(3), "the same epoch may raise again")
	require.ErrorIs(t, b.Raise(2), segment.ErrStale)
	require.NoError(t, b.Raise(9))
	require.ErrorIs(t, a.Raise(3), segment.ErrStale)
	require.EqualValues(t, 9, a.Epoch())
}

func TestTheLayoutIsAsDocumented(t *testing.T) {
	fd, err := unix.MemfdCreate("layout", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(fd)
	creator := []byte("thirty-two bytes of the creator's")[:segment.CreatorSize]
	require.NoError(t, segment.FormatFor(fd, 300, [segment.CreatorSize]byte(creator)))
	s := mustMap(t, fd)
	require.NoError(t, s.Raise(7))
	c, err := s.Cell(7, 100)
	require.NoError(t, err)
	require.NoError(t, c.Commit())

	h := make([]byte, segment.HeaderSize)
	_, err = unix.Pread(fd, h, 0)
	require.NoError(t, err)
	le := binary.LittleEndian
	require.Equal(t, "UNDRSTDY", string(h[:8]))
	require.EqualValues(t, 1, le.Uint32(h[8:]))
	require.EqualValues(t, 4096, le.Uint32(h[12:]))
	require.EqualValues(t, 300, le.Uint64(h[16:]))
	require.EqualValues(t, 7, le.Uint64(h[24:]))
	require.Equal(t, creator, h[32:64])
	// A new word is slot 0, avoid 1; taking it swaps avoid (1) and target (2); the
	// commit moves slot to 1.
	require.EqualValues(t, 7<<32|1<<4|2<<2|1, le.Uint64(h[64:]))
	require.EqualValues(t, 100, le.Uint64(h[72:]))
	require.Equal(t, make([]byte, segment.HeaderSize-80), h[80:])
}

func TestWhatIsNoSegmentIsRefused(t *testing.T) {
	const size = 64
	for _, c := range []struct {
		name, says string
		change     func(t *testing.T, fd int)
	}{
		{"empty", "no magic number", func(t *testing.T, fd int) { require.NoError(t, unix.Ftruncate(fd, 0)) }},
		{"cut within the header", "no magic number", func(t *testing.T, fd int) { require.NoError(t, unix.Ftruncate(fd, 20)) }},
		{"cut within the data", "the file has", func(t *testing.T, fd int) { require.NoError(t, unix.Ftruncate(fd, 4100)) }},
		{"longer than it says", "the file has", func(t *testing.T, fd int) { require.NoError(t, unix.Ftruncate(fd, 9000)) }},
		{"other magic", "no magic number", poke(0, "X")},
		{"newer version", "version 2, expected 1", poke(8, "\x02")},
		{"other header size", "header of 4097 bytes", poke(12, "\x01")},
		{"no data", "header says 0 bytes", poke(16, "\x00")},
		{"negative size", "the file has", poke(16, "\xff\xff\xff\xff\xff\xff\xff\xff")},
	} {
		t.Run(c.name, func(t *testing.T) {
			fd := newFD(t, size)
			c.change(t, fd)
			_, err := segment.Map(fd)
			require.ErrorIs(t, err, segment.ErrLayout)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func poke(at int64, bytes string) func(t *testing.T, fd int) {
	return func(t *testing.T, fd int) {
		_, err := unix.Pwrite(fd, []byte(bytes), at)
		require.NoError(t, err)
	}
}

func TestFormatRefusesBadSizesAndWhatIsNotEmpty(t *testing.T) {
	fd := newFD(t, 10)
	require.ErrorIs(t, segment.Format(fd, 10), segment.ErrLayout)
	for _, size := range []int64{0, -1, 1<<63 - 1} {
		require.ErrorIs(t, segment.Format(fd, size), unix.EINVAL)
	}
	require.Error(t, segment.Format(-1, 10))
}

func TestOpenByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "named")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, segment.Format(int(f.Fd()), 5000))
	s, err := segment.Open(path)
	require.NoError(t, err)
	s.Data()[4999] = 42
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.EqualValues(t, 42, mustMap(t, int(f.Fd())).Data()[4999])

	link := path + ".link"
	require.NoError(t, os.Symlink(path, link))
	_, err = segment.Open(link)
	require.ErrorContains(t, err, link)
	_, err = segment.Open(path + ".missing")
	require.ErrorIs(t, err, os.ErrNotExist)
	other := path + ".other"
	require.NoError(t, os.WriteFile(other, []byte("something else"), 0o600))
	_, err = segment.Open(other)
	require.ErrorIs(t, err, segment.ErrLayout)
	require.ErrorContains(t, err, other)
}

func TestWordIsAlignedAndWithin(t *testing.T) {
	s := mustMap(t, newFD(t, 10))
	*s.Word(4) = 0x01020304
	require.Equal(t, []byte{4, 3, 2, 1}, s.Data()[4:8])
	for _, offset := range []int{-4, 1, 7, 8, 12} {
		require.Panics(t, func() { s.Word(offset) }, offset)
	}
}

// An epoch that no supervisor gives was written by a stray pointer: it stops
// nobody, neither from taking the segment nor in the middle of its work.
func TestAnEpochThatCannotBe(t *testing.T) {
	fd := newFD(t, 1000)
	s := mustMap(t, fd)
	overwrite := func(epoch uint64) {
		_, err := unix.Pwrite(fd, binary.LittleEndian.AppendUint64(nil, epoch), 24)
		require.NoError(t, err)
	}
	overwrite(1<<64 - 1)
	require.NoError(t, s.Raise(3))
	require.EqualValues(t, 3, s.Epoch())
	overwrite(segment.MaxEpoch + 1)
	c, err := s.Cell(3, 5)
	require.NoError(t, err)
	overwrite(1<<64 - 1)
	require.NoError(t, c.Commit())
	require.EqualValues(t, 3, s.Epoch())

	overwrite(segment.MaxEpoch)
	require.ErrorIs(t, s.Raise(4), segment.ErrStale)
	require.ErrorIs(t, c.Commit(), segment.ErrStale)
	require.ErrorIs(t, s.Raise(segment.MaxEpoch+1), segment.ErrLayout)
}
