package segment_test

import (
	"fmt"

	"golang.org/x/sys/unix"

	"understudy/shmregistry/segment"
)

// A worker counts in a segment, dies in the middle of its work, and the next
// one goes on from its last commit.
func Example() {
	fd, err := unix.MemfdCreate("example", unix.MFD_CLOEXEC) // a worker is given a descriptor instead
	if err != nil {
		panic(err)
	}
	defer unix.Close(fd)
	if err := segment.Format(fd, 300); err != nil {
		panic(err)
	}
	work := func(epoch uint64, commits int) {
		s, err := segment.Map(fd)
		if err != nil {
			panic(err)
		}
		defer s.Close()
		if err := s.Raise(epoch); err != nil {
			panic(err)
		}
		cell, err := s.Cell(epoch, 100)
		if err != nil {
			panic(err)
		}
		state, generation := cell.Current()
		fmt.Printf("epoch %d begins with %d, generation %d\n", epoch, state[0], generation)
		for range commits {
			state, _ := cell.Current()
			next := cell.Next()
			copy(next, state)
			next[0]++
			if err := cell.Commit(); err != nil {
				panic(err)
			}
		}
		cell.Next()[0] = 99 // never committed
	}
	work(1, 5)
	work(2, 2)
	work(3, 0)
	// Output:
	// epoch 1 begins with 0, generation 0
	// epoch 2 begins with 5, generation 5
	// epoch 3 begins with 7, generation 7
}
