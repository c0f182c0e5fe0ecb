package segment_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/shmregistry/segment"
)

var kills = flag.Int("kills", 200, "how many writers the kill tests kill")

// The test binary is also the writer that the tests kill: its epoch in this
// variable says so. Descriptor 3 is the segment.
const epochVariable = "SEGMENT_TEST_WRITER_EPOCH"

// The state that writers hand on: a count, then a pattern that follows from it,
// then a checksum of both. It is long enough that most kills strike while it is
// built.
const stateSize = 32 << 10

func build(state []byte, count uint64) {
	body := state[:stateSize-8]
	for i := 0; i < len(body); i += 8 {
		binary.LittleEndian.PutUint64(body[i:], count*uint64(1+i))
	}
	binary.LittleEndian.PutUint64(body, count)
	binary.LittleEndian.PutUint32(state[stateSize-8:], crc32.ChecksumIEEE(body))
}

// check returns the count of a state, and whether it is whole.
func check(state []byte) (count uint64, whole bool) {
	body := state[:stateSize-8]
	return binary.LittleEndian.Uint64(body), crc32.ChecksumIEEE(body) == binary.LittleEndian.Uint32(state[stateSize-8:])
}

// beWriter takes the segment when told to, and counts on from what is there
// until it is killed or replaced.
func beWriter(epoch uint64) error {
	s, err := segment.Map(3)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
		return err
	}
	if err := s.Raise(epoch); err != nil {
		return err
	}
	c, err := s.Cell(epoch, stateSize)
	if err != nil {
		return err
	}
	slot, generation := c.Current()
	count, whole := check(slot)
	if generation > 0 && !whole {
		return fmt.Errorf("epoch %d found state %d of generation %d torn", epoch, count, generation)
	}
	for {
		count++
		build(c.Next(), count)
		if err := c.Commit(); errors.Is(err, segment.ErrStale) {
			// A doomed writer does not know that it is: this one goes on scribbling,
			// until it is killed.
			for {
				build(c.Next(), count^0xdead)
				if c.Commit() == nil {
					return errors.New("a replaced writer has committed")
				}
			}
		} else if err != nil {
			return err
		}
	}
}

// writer is one that waits to become active.
type writer struct {
	cmd   *exec.Cmd
	start io.WriteCloser
	ready *bufio.Reader
}

func startWriter(t *testing.T, f *os.File, epoch uint64) *writer {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), epochVariable+"="+strconv.FormatUint(epoch, 10))
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &writer{cmd: cmd, start: in, ready: bufio.NewReader(out)}
}

// activate has it begin.
func (w *writer) activate(t *testing.T) {
	_, err := w.ready.ReadString('\n')
	require.NoError(t, err)
	_, err = w.start.Write([]byte{1})
	require.NoError(t, err)
}

// kill kills it by SIGKILL and fails the test where something else ended it.
func (w *writer) kill(t *testing.T) {
	require.NoError(t, w.cmd.Process.Kill())
	err := w.cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "the writer gave up")
}

// TestNoKillTearsAState kills one writer after the other in the middle of its
// work. Every second one is replaced while it still runs. Each successor finds
// a whole state and counts on; nothing that was committed is lost.
func TestNoKillTearsAState(t *testing.T) {
	f := os.NewFile(uintptr(newDup(t, newFD(t, 3*stateSize))), "segment")
	defer f.Close()
	s := mustMap(t, int(f.Fd()))
	state := make([]byte, stateSize)
	var seen uint64
	look := func() {
		generation, err := s.ReadCell(stateSize, state)
		require.NoError(t, err)
		count, whole := check(state)
		require.True(t, whole, "state %d of generation %d is torn", count, generation)
		require.GreaterOrEqual(t, count, seen, "a state that was committed is lost")
		require.EqualValues(t, generation, count&(1<<28-1), "every state follows from the one before")
		seen = count
	}
	// commits waits until the segment's owner has committed, asleep.
	commits := func(epoch uint64) {
		deadline := time.Now().Add(20 * time.Second)
		for at := seen; s.Epoch() < epoch || seen == at; {
			word := atomic.LoadUint32(s.CellWord())
			if g, err := s.ReadCell(stateSize, state); err == nil && g > 0 && s.Epoch() >= epoch && word>>4 != uint32(at) {
				look()
				continue
			}
			require.True(t, time.Now().Before(deadline), "epoch %d commits nothing", epoch)
			_ = segment.Wait(s.CellWord(), word, time.Second)
		}
	}
	active := startWriter(t, f, 1)
	active.activate(t)
	begin := time.Now()
	for epoch := uint64(2); epoch < uint64(*kills)+2; epoch++ {
		next := startWriter(t, f, epoch)
		commits(epoch - 1)
		for range rand.IntN(2000) { // some instant
			atomic.LoadUint32(s.CellWord())
		}
		if epoch%2 == 0 {
			active.kill(t)
			next.activate(t)
		} else {
			next.activate(t)
			commits(epoch)
			active.kill(t)
		}
		look()
		active = next
	}
	active.kill(t)
	look()
	t.Logf("%d writers killed in %v, %d states committed, none torn", *kills+1, time.Since(begin).Round(time.Millisecond), seen)
}

func newDup(t *testing.T, fd int) int {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	return dup
}
