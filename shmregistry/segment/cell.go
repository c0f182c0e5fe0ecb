package segment

import (
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"
)

// word is the cell's word: mark (32 high bits), generation (28), avoid (2),
// slot (2).
//
// The mark is the low half of the owner's epoch. It tells owners apart, and not
// which is newer: that the header's epoch does, which is whole.
//
// slot is the one committed last, avoid the one in which a predecessor may
// still be writing, and the third is where the owner builds the next state. The
// generation counts commits; 0 says that there was none.
type word uint64

// firstWord is the word of a new segment: no epoch, nothing committed.
const firstWord = word(1 << 2)

const lastGeneration = 1<<28 - 1

func (w word) mark() uint32       { return uint32(w >> 32) }
func (w word) generation() uint32 { return uint32(w) >> 4 }
func (w word) avoid() int         { return int(w >> 2 & 3) }
func (w word) slot() int          { return int(w & 3) }
func (w word) target() int        { return 3 - w.slot() - w.avoid() }

// valid says whether the slots are three different ones.
func (w word) valid() bool { return w.slot() < 3 && w.avoid() < 3 && w.slot() != w.avoid() }

func makeWord(mark, generation uint32, avoid, slot int) word {
	return word(mark)<<32 | word(generation)<<4 | word(avoid)<<2 | word(slot)
}

// taken is the word after another epoch took the cell: what is committed stays,
// and the slot that the predecessor builds in is left to it.
func (w word) taken(mark uint32) word {
	return makeWord(mark, w.generation(), w.target(), w.slot())
}

// committed is the word after its owner published what it built. The generation
// goes from its highest value back to 1, because 0 says that nothing was
// committed.
func (w word) committed() word {
	g := w.generation() + 1
	if g > lastGeneration {
		g = 1
	}
	return makeWord(w.mark(), g, w.avoid(), w.target())
}

// Cell is a state that is replaced as a whole: built in one place, published by
// one compare-and-swap. It lies in the first three slots of the segment's data.
// One goroutine uses it.
type Cell struct {
	s     *Segment
	size  int
	epoch uint64
	word  word // as this owner left it; the segment's differs once another epoch has taken the cell
}

// Cell takes the cell at the caller's epoch; from then on no earlier epoch can
// commit. slotSize is the size of the state in bytes, three of which must fit
// the data. It must be what it was when the cell was first taken, or the call
// fails with [ErrLayout]. It fails with [ErrStale] where a higher epoch has the
// segment or the cell.
//
// One predecessor that still runs is kept apart from us. Two at once are not:
// a process that takes a cell twice in a row must know that the first of the two
// owners before it is fenced.
func (s *Segment) Cell(epoch uint64, slotSize int) (*Cell, error) {
	if epoch == 0 {
		return nil, fmt.Errorf("cell at epoch 0, expected 1 or more: %w", ErrLayout)
	}
	if err := s.checkSlots(slotSize); err != nil {
		return nil, err
	}
	if err := s.Raise(epoch); err != nil {
		return nil, err
	}
	size := s.word64(atSlotSize)
	if !atomic.CompareAndSwapUint64(size, 0, uint64(slotSize)) {
		if is := atomic.LoadUint64(size); is != uint64(slotSize) {
			return nil, fmt.Errorf("cell with slots of %d bytes, ours has %d: %w", is, slotSize, ErrLayout)
		}
	}
	p := s.word64(atCell)
	for {
		w := word(atomic.LoadUint64(p))
		if !w.valid() {
			return nil, fmt.Errorf("cell word %#x: %w", uint64(w), ErrLayout)
		}
		// An owner raises the epoch before it takes the cell. If w is a newer one's,
		// this sees it; if one comes later, we do not get the cell.
		if err := s.current(epoch); err != nil {
			return nil, err
		}
		if w.mark() == uint32(epoch) {
			return &Cell{s: s, size: slotSize, epoch: epoch, word: w}, nil
		}
		if next := w.taken(uint32(epoch)); atomic.CompareAndSwapUint64(p, uint64(w), uint64(next)) {
			// The owner before us may have been killed between its last commit and the
			// wake-up that follows it.
			Wake(s.CellWord(), math.MaxInt32)
			return &Cell{s: s, size: slotSize, epoch: epoch, word: next}, nil
		}
	}
}

// Current is the state committed last and its generation; generation 0 says
// that there is none yet. It is to be read only: the slot is written again
// after the next commit.
func (c *Cell) Current() (slot []byte, generation uint32) {
	return c.s.slot(c.word.slot(), c.size), c.word.generation()
}

// Next is where to build the next state. It holds what some earlier state left
// there, so all of it must be written.
func (c *Cell) Next() []byte { return c.s.slot(c.word.target(), c.size) }

// Commit publishes what was built in [Cell.Next] and wakes those that wait for
// it. It fails with [ErrStale] where another epoch has the segment or took the
// cell; nothing is published then, and never will be by this owner.
func (c *Cell) Commit() error {
	if err := c.s.current(c.epoch); err != nil {
		return err
	}
	next := c.word.committed()
	p := c.s.word64(atCell)
	if !atomic.CompareAndSwapUint64(p, uint64(c.word), uint64(next)) {
		return fmt.Errorf("cell of epoch %d was taken: %w", c.epoch, ErrStale)
	}
	c.word = next
	Wake(c.s.CellWord(), math.MaxInt32)
	return nil
}

// ReadCell copies the state committed last into dst, which must have room for
// slotSize bytes, and returns its generation, 0 where nothing was committed
// yet; dst is left alone then. It may be called by any program at any time, and
// repeats itself while commits overtake it.
func (s *Segment) ReadCell(slotSize int, dst []byte) (generation uint32, err error) {
	if err := s.checkSlots(slotSize); err != nil {
		return 0, err
	}
	if len(dst) < slotSize {
		return 0, fmt.Errorf("reading a state of %d bytes into %d: %w", slotSize, len(dst), ErrLayout)
	}
	if is := atomic.LoadUint64(s.word64(atSlotSize)); is != 0 && is != uint64(slotSize) {
		return 0, fmt.Errorf("cell with slots of %d bytes, ours has %d: %w", is, slotSize, ErrLayout)
	}
	p := s.word64(atCell)
	var fence uint32
	for {
		w := word(atomic.LoadUint64(p))
		if !w.valid() {
			return 0, fmt.Errorf("cell word %#x: %w", uint64(w), ErrLayout)
		}
		if w.generation() == 0 {
			return 0, nil
		}
		copy(dst[:slotSize], s.slot(w.slot(), slotSize))
		// An atomic load keeps what follows it from moving up, not what precedes it
		// from moving down; an atomic exchange does both. On amd64 it is not needed,
		// on arm64 it is.
		atomic.SwapUint32(&fence, 1)
		if word(atomic.LoadUint64(p)) == w {
			return w.generation(), nil
		}
	}
}

// CellWord is the low half of the cell's word, to wait for commits with [Wait]:
// it differs after every commit and after every change of the owner.
func (s *Segment) CellWord() *uint32 {
	// The layout is little-endian, and so is every machine this is built for.
	return (*uint32)(unsafe.Pointer(&s.mapped[atCell]))
}

func (s *Segment) checkSlots(size int) error {
	if size <= 0 || int64(size) > s.size/3 {
		return fmt.Errorf("three slots of %d bytes in %d: %w", size, s.size, ErrLayout)
	}
	return nil
}

func (s *Segment) slot(i, size int) []byte {
	return s.Data()[i*size : (i+1)*size : (i+1)*size]
}
