package segment_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/shmregistry/segment"
)

// BenchmarkCommit is one commit with nobody waiting: a compare-and-swap and a
// futex call.
func BenchmarkCommit(b *testing.B) {
	s := mustMap(b, newFD(b, 3*4096))
	c, err := s.Cell(1, 4096)
	require.NoError(b, err)
	for b.Loop() {
		if err := c.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMap is what a worker pays for a segment at activation: map it, raise
// its epoch, take its cell.
func BenchmarkMap(b *testing.B) {
	fd := newFD(b, 3*4096)
	for b.Loop() {
		s := mapped(b, fd)
		if err := s.Raise(1); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Cell(1, 4096); err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

func mapped(b *testing.B, fd int) *segment.Segment {
	s, err := segment.Map(fd)
	require.NoError(b, err)
	return s
}
