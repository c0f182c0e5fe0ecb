package shmregistry_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/shmregistry"
	"understudy/shmregistry/segment"
)

// overwrite is what a stray pointer of a worker does to the segment behind fd.
type overwrite struct {
	name  string
	named bool
	do    func(t *testing.T, fd int)
	told  string
	lost  bool // the cell's state cannot be kept
}

func write(at int64, what ...byte) func(t *testing.T, fd int) {
	return func(t *testing.T, fd int) {
		_, err := unix.Pwrite(fd, what, at)
		require.NoError(t, err)
	}
}

func ff(n int) []byte { return bytes.Repeat([]byte{0xff}, n) }

var overwrites = []overwrite{
	{name: "epoch", do: write(24, ff(8)...), told: "its epoch"},
	{name: "an epoch that could be", do: write(24, 9, 0, 0, 0, 0, 0, 0, 0), told: "its epoch"},
	{name: "epoch taken back", do: write(24, make([]byte, 8)...), told: "its epoch"},
	{name: "magic number", do: write(0, 0), told: "its magic number"},
	{name: "version and sizes", do: write(8, ff(16)...), told: "its version, size of the header, size of the data"},
	{name: "creator", do: write(40, 1, 2, 3), told: "its creator"},
	{name: "label", do: write(128, ff(100)...), told: "its label"},
	{name: "the cell's slots", do: write(64, ff(8)...), told: "its cell"},
	{name: "the size of the slots", do: write(72, ff(8)...), told: "its size of the cell's slots"},
	{name: "the whole page", do: write(0, ff(segment.HeaderSize)...), told: "its magic number, version"},
	{name: "the file's length", named: true, told: "its size of the file", lost: true,
		do: func(t *testing.T, fd int) { require.NoError(t, unix.Ftruncate(fd, 10)) }},
}

// A header that somebody overwrote is written again, by a pass of Reconcile or
// where the next activation is prepared. The next worker takes segment and cell
// as if nothing had happened, and finds the state that was committed last.
func TestAnOverwrittenHeaderIsWrittenAgain(t *testing.T) {
	for _, o := range overwrites {
		for _, how := range []string{"by a pass", "at the next activation"} {
			t.Run(o.name+" "+how, func(t *testing.T) {
				p := newPlace(t)
				r, told := p.openTold(t)
				spec := work
				if o.named {
					spec = shared
				}
				prepared, mapped := mustPrepare(t, r, "b", 1, spec)
				r.Activated("b", 1, startWorker(t).owner)
				require.NoError(t, mapped[0].Raise(1))
				c, err := mapped[0].Cell(1, 5)
				require.NoError(t, err)
				copy(c.Next(), "state")
				require.NoError(t, c.Commit())
				mustPrepare(t, r, "b", 2, spec) // ahead
				require.Zero(t, r.Reconcile())
				require.Zero(t, r.Totals().HeadersMended)

				o.do(t, prepared[0].FD)
				if how == "by a pass" {
					require.Equal(t, 1, r.Reconcile())
				}
				_, mapped = mustPrepare(t, r, "b", 2, spec)
				repair := nextRepair(t, told)
				require.Equal(t, shmregistry.HeaderMended, repair.Action)
				require.Contains(t, repair.Why, o.told)
				require.Equal(t, "b", repair.Entry.Binding)
				require.EqualValues(t, 1, r.Totals().HeadersMended)
				require.EqualValues(t, 1, mapped[0].Epoch())

				require.NoError(t, mapped[0].Raise(2))
				c, err = mapped[0].Cell(2, 5)
				require.NoError(t, err)
				state, generation := c.Current()
				if !o.lost {
					require.Equal(t, "state", string(state))
					require.EqualValues(t, 1, generation)
				}
				require.NoError(t, c.Commit())
				require.Zero(t, r.Reconcile(), "nothing is left to do")

				// A registry that is opened later knows its own.
				if o.named {
					require.NoError(t, r.Close())
					require.Len(t, p.open(t).List(), 1)
				}
			})
		}
	}
}

// What is there is believed within reason where the books may be behind: a worker
// of an earlier life may have been activated while nobody wrote.
func TestAnEpochAheadOfTheBooks(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	_, mapped := mustPrepare(t, r, "b", 3, shared)
	require.NoError(t, mapped[0].Raise(3))
	require.NoError(t, r.Close())
	require.NoError(t, mapped[0].Raise(7))

	r = p.open(t)
	require.Zero(t, r.Reconcile())
	require.EqualValues(t, 7, r.LastEpoch("b"))
	_, mapped = mustPrepare(t, r, "b", 8, shared)
	require.Zero(t, r.Totals().HeadersMended)
	require.EqualValues(t, 7, mapped[0].Epoch())

	_, err := unix.Pwrite(mustFD(t, r.List()[0].Path), ff(8), 24)
	require.NoError(t, err)
	require.EqualValues(t, 7, r.LastEpoch("b"), "it does not lead the next epochs astray")
	mustPrepare(t, r, "b", 8, shared)
	require.EqualValues(t, 7, mapped[0].Epoch())
}

func mustFD(t *testing.T, path string) int {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}
