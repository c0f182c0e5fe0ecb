package sentinel

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring reads a BPF ring buffer without allocation, from memory shared with the
// kernel: a page that we write (how far we have read), a page that the kernel
// writes (how far it has written), and the data, mapped twice in a row so that
// no record is ever split (kernel/bpf/ringbuf.c).
type ring struct {
	consumer, producer []byte
	read, written      *atomic.Uint64
	data               []byte
	mask               uint64
}

// The header before each record: its length with two flags, and a page number.
const (
	ringHeader  = 8
	ringBusy    = 1 << 31
	ringDiscard = 1 << 30
)

func newRing(fd int, size int) (*ring, error) {
	page := os.Getpagesize()
	consumer, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the ring's position: %w", err)
	}
	producer, err := unix.Mmap(fd, int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Munmap(consumer)
		return nil, fmt.Errorf("map the ring's data: %w", err)
	}
	return &ring{
		consumer: consumer,
		producer: producer,
		read:     (*atomic.Uint64)(unsafe.Pointer(&consumer[0])),
		written:  (*atomic.Uint64)(unsafe.Pointer(&producer[0])),
		data:     producer[page:],
		mask:     uint64(size - 1),
	}, nil
}

// next returns the oldest record, which is valid until done is called, or nil.
func (r *ring) next() []byte {
	for {
		at := r.read.Load()
		if at == r.written.Load() {
			return nil
		}
		slot := r.data[at&r.mask:]
		length := (*atomic.Uint32)(unsafe.Pointer(&slot[0])).Load()
		if length&ringBusy != 0 { // being written; the kernel wakes us when it is done
			return nil
		}
		if length&ringDiscard == 0 {
			return slot[ringHeader : ringHeader+length]
		}
		r.done(int(length &^ ringDiscard))
	}
}

// done frees the record of this length that next returned.
func (r *ring) done(length int) {
	r.read.Add(uint64(ringHeader+length+7) &^ 7)
}

func (r *ring) close() {
	_ = unix.Munmap(r.producer)
	_ = unix.Munmap(r.consumer)
}
