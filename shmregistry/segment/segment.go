package segment

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrStale says that a higher epoch has the segment or its cell: the caller has
// been replaced and must not write.
var ErrStale = errors.New("a newer epoch has it")

// Segment is a mapped segment. Its methods may be called from several
// goroutines, [Segment.Close] excepted.
type Segment struct {
	mapped []byte
	size   int64
}

// Map maps the segment behind fd, readable and writable, and checks its header
// against the file's size; what does not fit fails with [ErrLayout]. The
// descriptor stays the caller's, and may be closed afterwards.
//
// A memfd of the registry is sealed against shrinking (memfd_create(2)). A
// named segment cannot be: where somebody truncates it, touching the lost pages
// raises SIGBUS.
func Map(fd int) (*Segment, error) {
	info, err := Read(fd)
	if err != nil {
		return nil, err
	}
	length := HeaderSize + info.Size
	if int64(int(length)) != length {
		return nil, fmt.Errorf("%d bytes of data do not fit this address space: %w", info.Size, ErrLayout)
	}
	m, err := unix.Mmap(fd, 0, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping a segment of %d bytes: %w", info.Size, err)
	}
	return &Segment{mapped: m, size: info.Size}, nil
}

// Open maps the segment that has a name, for programs that the supervisor did
// not start. It does not follow a symbolic link at the path's end.
func Open(path string) (*Segment, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the segment %s: %w", path, err)
	}
	defer unix.Close(fd)
	s, err := Map(fd)
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", path, err)
	}
	return s, nil
}

// Data is the memory after the header. It is shared with other processes, and
// gone after [Segment.Close]: touching it then is a fault.
func (s *Segment) Data() []byte { return s.mapped[HeaderSize:] }

// Size is the size of the data in bytes.
func (s *Segment) Size() int64 { return s.size }

// MaxEpoch is higher than every epoch that a supervisor gives: they count the
// activations of a binding, from 1 or from the time in milliseconds. A header
// with a higher one was overwritten.
const MaxEpoch = 1 << 48

// Epoch is the highest epoch that may write.
func (s *Segment) Epoch() uint64 { return atomic.LoadUint64(s.word64(atEpoch)) }

// Raise raises the segment's epoch to the caller's. It must be called before the
// first write, and fails with [ErrStale] where a higher epoch is there already:
// the caller must not write then. What is there above [MaxEpoch] is no epoch, and
// the caller's takes its place.
func (s *Segment) Raise(epoch uint64) error {
	if epoch > MaxEpoch {
		return fmt.Errorf("epoch %d, expected at most %d: %w", epoch, uint64(MaxEpoch), ErrLayout)
	}
	p := s.word64(atEpoch)
	for {
		is := atomic.LoadUint64(p)
		if is > epoch && is <= MaxEpoch {
			return fmt.Errorf("segment at epoch %d, ours is %d: %w", is, epoch, ErrStale)
		}
		if is == epoch || atomic.CompareAndSwapUint64(p, is, epoch) {
			return nil
		}
	}
}

// current fails with [ErrStale] where a higher epoch than the caller's has the
// segment.
func (s *Segment) current(epoch uint64) error {
	if s.Epoch() <= epoch {
		return nil
	}
	return s.Raise(epoch)
}

// Word is the aligned word at offset bytes into the data, for atomic operations
// and for [Wait]. It panics where the offset is no multiple of four or beyond
// the data, as an index would.
func (s *Segment) Word(offset int) *uint32 {
	if offset < 0 || offset%4 != 0 || offset > len(s.Data())-4 {
		panic(fmt.Sprintf("segment: no aligned word at offset %d of %d", offset, len(s.Data())))
	}
	return (*uint32)(unsafe.Pointer(&s.mapped[HeaderSize+offset]))
}

// Close unmaps the segment. The second call does nothing.
func (s *Segment) Close() error {
	if s.mapped == nil {
		return nil
	}
	m := s.mapped
	s.mapped = nil
	if err := unix.Munmap(m); err != nil {
		return fmt.Errorf("unmapping a segment: %w", err)
	}
	return nil
}

// word64 is an aligned word of the header.
func (s *Segment) word64(offset int) *uint64 {
	return (*uint64)(unsafe.Pointer(&s.mapped[offset]))
}
