package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// HeaderSize is the size of the header in bytes; the data begin there, on a
// page of their own.
const HeaderSize = 4096

// Version is the version of the layout that this package writes and reads.
const Version = 1

// magic is the first eight bytes of a segment.
const magic = "UNDRSTDY"

// Where the fields of the header are, in bytes from the segment's start. All
// are little-endian.
const (
	atMagic      = 0  // 8 bytes
	atVersion    = 8  // u32
	atHeaderSize = 12 // u32
	atDataSize   = 16 // u64
	atEpoch      = 24 // u64, atomic: the highest epoch that may write
	atCreator    = 32 // 32 bytes that are the creator's: what it needs to know its own again; zero where nobody asks
	atCell       = 64 // u64, atomic: see cell.go
	atSlotSize   = 72 // u64, atomic: bytes of one slot of the cell; 0 until the cell is first taken
	fieldsEnd    = 80
)

// CreatorSize is the size in bytes of what the creator may put into the header.
const CreatorSize = 32

// ErrLayout says that a file is no segment, or not one of a version, size or
// slot size that can be used.
var ErrLayout = errors.New("not a usable segment")

// Format makes a segment with size bytes of data out of the empty file behind
// fd. It fails with [ErrLayout] where the file is not empty, so nothing that
// exists is overwritten, and with the kernel's error otherwise; the file is
// then to be thrown away. The data are zero. They take no memory until written
// to.
func Format(fd int, size int64) error {
	return FormatFor(fd, size, [CreatorSize]byte{})
}

// FormatFor is [Format] with something of the creator's in the header.
func FormatFor(fd int, size int64, creator [CreatorSize]byte) error {
	if size <= 0 || size > math.MaxInt64-HeaderSize {
		return fmt.Errorf("segment of %d bytes: %w", size, unix.EINVAL)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat of a segment: %w", err)
	}
	if st.Size != 0 {
		return fmt.Errorf("formatting a file of %d bytes, expected an empty one: %w", st.Size, ErrLayout)
	}
	if err := unix.Ftruncate(fd, HeaderSize+size); err != nil {
		return fmt.Errorf("sizing a segment of %d bytes: %w", size, err)
	}
	var h [fieldsEnd]byte
	copy(h[atMagic:], magic)
	binary.LittleEndian.PutUint32(h[atVersion:], Version)
	binary.LittleEndian.PutUint32(h[atHeaderSize:], HeaderSize)
	binary.LittleEndian.PutUint64(h[atDataSize:], uint64(size))
	copy(h[atCreator:], creator[:])
	binary.LittleEndian.PutUint64(h[atCell:], uint64(firstWord))
	n, err := unix.Pwrite(fd, h[:], 0)
	if err != nil {
		return fmt.Errorf("writing a segment's header: %w", err)
	}
	if n != len(h) {
		return fmt.Errorf("writing a segment's header: %d of %d bytes written", n, len(h))
	}
	return nil
}

// Info is what a header says.
type Info struct {
	Size    int64 // bytes of data
	Epoch   uint64
	Creator [CreatorSize]byte
}

// Read reads and checks the header behind fd without mapping it, and compares
// it with the file's size. What is no segment of this version and size fails
// with [ErrLayout].
func Read(fd int) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Info{}, fmt.Errorf("stat of a segment: %w", err)
	}
	var h [fieldsEnd]byte
	n, err := unix.Pread(fd, h[:], 0)
	if err != nil {
		return Info{}, fmt.Errorf("reading a segment's header: %w", err)
	}
	if n < len(h) || string(h[atMagic:atMagic+len(magic)]) != magic {
		return Info{}, fmt.Errorf("no magic number at its start: %w", ErrLayout)
	}
	if v := binary.LittleEndian.Uint32(h[atVersion:]); v != Version {
		return Info{}, fmt.Errorf("version %d, expected %d: %w", v, Version, ErrLayout)
	}
	if s := binary.LittleEndian.Uint32(h[atHeaderSize:]); s != HeaderSize {
		return Info{}, fmt.Errorf("header of %d bytes, expected %d: %w", s, HeaderSize, ErrLayout)
	}
	size := binary.LittleEndian.Uint64(h[atDataSize:])
	if size == 0 || size > math.MaxInt64-HeaderSize || st.Size != HeaderSize+int64(size) {
		return Info{}, fmt.Errorf("header says %d bytes of data, the file has %d with the header: %w",
			size, st.Size, ErrLayout)
	}
	info := Info{Size: int64(size), Epoch: binary.LittleEndian.Uint64(h[atEpoch:])}
	copy(info.Creator[:], h[atCreator:])
	return info, nil
}
