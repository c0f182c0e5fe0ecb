package segment

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Known is what the creator of a segment knows of its header. Workers have the
// header mapped and writable, so a stray pointer can overwrite it.
type Known struct {
	Size    int64
	Creator [CreatorSize]byte
	Label   string

	// The epoch lies between Lowest, which is what Mend saw last, and Highest.
	// Epoch takes the place of one that does not.
	Lowest, Epoch, Highest uint64

	// Cell and SlotSize are the cell's, as Mend saw them last; 0 before that.
	Cell, SlotSize uint64
}

// Mend compares the header behind fd, and the file's size, with what is known,
// writes what differs, and returns the names of what it wrote. It notes what the
// header says of the cell. A cell's word that cannot be is replaced by the last
// one that was seen, and by that of a new cell where none was.
//
// It writes with pwrite(2), not through a mapping: a file that somebody truncates
// meanwhile must not end the caller by SIGBUS. What a worker writes to the same
// field in that instant may be lost.
func (k *Known) Mend(fd int) (mended []string, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat of a segment: %w", err)
	}
	if want := HeaderSize + k.Size; st.Size != want {
		if err := unix.Ftruncate(fd, want); err != nil {
			return nil, fmt.Errorf("sizing a segment of %d bytes: %w", k.Size, err)
		}
		mended = append(mended, "size of the file")
	}
	var is [fieldsEnd]byte
	if _, err := unix.Pread(fd, is[:], 0); err != nil {
		return nil, fmt.Errorf("reading a segment's header: %w", err)
	}
	put := func(name string, at int, want []byte) {
		if string(is[at:at+len(want)]) == string(want) {
			return
		}
		_, e := unix.Pwrite(fd, want, int64(at))
		err = errors.Join(err, e)
		mended = append(mended, name)
	}
	u32, u64 := binary.LittleEndian.AppendUint32, binary.LittleEndian.AppendUint64
	put("magic number", atMagic, []byte(magic))
	put("version", atVersion, u32(nil, Version))
	put("size of the header", atHeaderSize, u32(nil, HeaderSize))
	put("size of the data", atDataSize, u64(nil, uint64(k.Size)))
	put("creator", atCreator, k.Creator[:])
	k.Lowest = k.epoch(binary.LittleEndian.Uint64(is[atEpoch:]))
	put("epoch", atEpoch, u64(nil, k.Lowest))
	k.Cell, k.SlotSize = k.cell(binary.LittleEndian.Uint64(is[atCell:]), binary.LittleEndian.Uint64(is[atSlotSize:]))
	put("cell", atCell, u64(nil, k.Cell))
	put("size of the cell's slots", atSlotSize, u64(nil, k.SlotSize))

	if text, e := ReadLabel(fd); e != nil || text != k.Label {
		err = errors.Join(err, WriteLabel(fd, k.Label))
		mended = append(mended, "label")
	}
	return mended, err
}

// epoch returns the header's epoch, or the one that takes its place.
func (k *Known) epoch(is uint64) uint64 {
	if is < k.Lowest || is > k.Highest {
		return k.Epoch
	}
	return is
}

// cell returns the cell's word and the size of its slots, or what takes their
// places.
func (k *Known) cell(is, slotSize uint64) (w, size uint64) {
	size = slotSize
	if size > uint64(k.Size/3) || k.SlotSize != 0 && size != k.SlotSize {
		size = k.SlotSize // it is set once
	}
	w = is
	if !word(w).valid() {
		w = max(k.Cell, uint64(firstWord))
	}
	return w, size
}
