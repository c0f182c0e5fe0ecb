// Package blocks is how the dsp pattern and its host hand each other blocks: two rings and a state in three segments.
//
// The host writes block n into the input ring and then raises the input's count to n+1, on which the worker waits. The
// worker writes output block n into the output ring, the delay line into the state segment, and commits the state with
// number n+1 through the segment's cell; the host waits for commits. So output block n is valid once the committed
// state has done n+1 blocks, and a worker that continues from a committed state writes the same bits again, if any.
//
// A ring holds Ring blocks. The host hands in block n only after block n-Ring has come back.
package blocks

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"understudy/patterns/dsp/chain"
	"understudy/shmregistry"
	"understudy/shmregistry/segment"
)

// Ring is the number of blocks in a ring: a third of a second.
const Ring = 64

// The names of the segments.
const (
	Input, Output, State = "input", "output", "state"
)

// Where things lie in the segments' data, in bytes.
const (
	blockSize = chain.Samples * 4
	ringSize  = Ring * blockSize
	// atBlocks is where the input's blocks begin, after the cache line of its count.
	atBlocks   = 64
	inputSize  = atBlocks + ringSize
	outputSize = ringSize
	// SlotSize is the size of one state in the cell: whole cache lines.
	SlotSize = 128
	// atLine is where the delay line begins, after the cell's three slots.
	atLine    = 3 * SlotSize
	stateSize = atLine + chain.LineSamples*4
)

// ErrSegments says that segments are missing or of the wrong size.
var ErrSegments = errors.New("not the segments of a dsp worker")

// Specs is what a manifest declares. All are handed over, and have names for the host.
func Specs() []shmregistry.Spec {
	return []shmregistry.Spec{
		{Name: Input, Size: inputSize, OnDeath: shmregistry.Handover, Named: true},
		{Name: Output, Size: outputSize, OnDeath: shmregistry.Handover, Named: true},
		{Name: State, Size: stateSize, OnDeath: shmregistry.Handover, Named: true},
	}
}

// Shared is the three segments, mapped.
type Shared struct {
	input, output, state *segment.Segment
}

// Of returns the segments of a binding by name. They stay the caller's to close.
func Of(segments map[string]*segment.Segment) (*Shared, error) {
	for _, spec := range Specs() {
		s := segments[spec.Name]
		if s == nil {
			return nil, fmt.Errorf("%w: %s is missing", ErrSegments, spec.Name)
		}
		if s.Size() != spec.Size {
			return nil, fmt.Errorf("%w: %s has %d bytes, expected %d", ErrSegments, spec.Name, s.Size(), spec.Size)
		}
	}
	return &Shared{segments[Input], segments[Output], segments[State]}, nil
}

// In is the place of input block n.
func (s *Shared) In(n uint64) *chain.Block { return blockAt(s.input.Data()[atBlocks:], n) }

// Out is the place of output block n.
func (s *Shared) Out(n uint64) *chain.Block { return blockAt(s.output.Data(), n) }

// Line is the delay line.
func (s *Shared) Line() chain.Line {
	return unsafe.Slice((*float32)(unsafe.Pointer(&s.state.Data()[atLine])), chain.LineSamples)
}

func blockAt(ring []byte, n uint64) *chain.Block {
	return (*chain.Block)(unsafe.Pointer(&ring[n%Ring*blockSize]))
}

// Written is the low half of the number of input blocks handed in.
func (s *Shared) Written() uint32 { return atomic.LoadUint32(s.input.Word(0)) }

// HandIn publishes that input blocks up to and without n are written, and wakes the worker.
func (s *Shared) HandIn(n uint64) {
	atomic.StoreUint32(s.input.Word(0), uint32(n))
	s.Nudge()
}

// ErrCount says that the input's count is not one that a host can have set: behind the worker, or more than a ring ahead
// of it.
var ErrCount = errors.New("not a count of input blocks")

// Ready is how many input blocks wait for a worker that has done that many. It fails with [ErrCount].
func (s *Shared) Ready(done uint64) (int, error) {
	// The count is the low half of the number, so only the difference counts.
	ready := int32(s.Written() - uint32(done))
	if ready < 0 || ready > Ring {
		return 0, fmt.Errorf("%w: %s is %d blocks ahead of block %d, expected 0 to %d", ErrCount, Input, ready, done, Ring)
	}
	return int(ready), nil
}

// Nudge wakes a worker that waits for input, which then looks whether it still has the segments.
func (s *Shared) Nudge() { segment.Wake(s.input.Word(0), 1<<30) }

// AwaitInput waits until the count differs from what Written returned, or for a nudge.
func (s *Shared) AwaitInput(written uint32) error { return segment.Wait(s.input.Word(0), written, -1) }

// Committed is the number of output blocks that are valid.
func (s *Shared) Committed() (uint64, error) {
	var slot [SlotSize]byte
	generation, err := s.state.ReadCell(SlotSize, slot[:])
	if err != nil || generation == 0 {
		return 0, err
	}
	return stateIn(slot[:]).Block, nil
}

// Commits changes with each commit and each change of the worker; see AwaitCommit.
func (s *Shared) Commits() uint32 { return atomic.LoadUint32(s.state.CellWord()) }

// AwaitCommit waits until Commits differs from what it returned, and fails with segment.ErrTimeout if it does not in
// time.
func (s *Shared) AwaitCommit(commits uint32, timeout time.Duration) error {
	return segment.Wait(s.state.CellWord(), commits, timeout)
}

// Epoch is the newest epoch that may write.
func (s *Shared) Epoch() uint64 { return s.state.Epoch() }

// Cell is the state's cell, as a chain's states.
type Cell struct{ cell *segment.Cell }

// Take takes the state for an epoch, and wakes the host. It fails with segment.ErrStale where a newer one has it.
func (s *Shared) Take(epoch uint64) (*Cell, error) {
	c, err := s.state.Cell(epoch, SlotSize)
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", State, err)
	}
	return &Cell{c}, nil
}

// Current is the state committed last, or the first one. It is not to be written to.
func (c *Cell) Current() *chain.State {
	slot, generation := c.cell.Current()
	if generation == 0 {
		return &chain.State{}
	}
	return stateIn(slot)
}

// Next is where the next state is to be written.
func (c *Cell) Next() *chain.State { return stateIn(c.cell.Next()) }

// Commit makes Next current and wakes the host. It fails with segment.ErrStale where a newer epoch took the state.
func (c *Cell) Commit() error { return c.cell.Commit() }

func stateIn(slot []byte) *chain.State { return (*chain.State)(unsafe.Pointer(&slot[0])) }

// A state fits its slot.
const _ = SlotSize - unsafe.Sizeof(chain.State{})
