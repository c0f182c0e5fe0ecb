package engine_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"understudy/patterns/dsp/blocks"
	"understudy/patterns/dsp/chain"
	"understudy/patterns/dsp/engine"
	"understudy/shmregistry/segment"
)

// asWorker in the environment makes the test binary a worker on the segments in that folder.
const asWorker, withEpoch = "DSP_TEST_SEGMENTS", "DSP_TEST_EPOCH"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asWorker); dir != "" {
		fmt.Fprintln(os.Stderr, work(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func work(dir string) error {
	epoch, err := strconv.ParseUint(os.Getenv(withEpoch), 10, 64)
	if err != nil {
		return err
	}
	shared, err := open(dir, epoch)
	if err != nil {
		return err
	}
	over := make(chan error)
	engine.Start(context.Background(), false, slog.New(slog.NewTextHandler(io.Discard, nil))).
		Run(shared, epoch, func(err error) { over <- err })
	return <-over
}

func open(dir string, epoch uint64) (*blocks.Shared, error) {
	segments := map[string]*segment.Segment{}
	for _, spec := range blocks.Specs() {
		s, err := segment.Open(filepath.Join(dir, spec.Name))
		if err != nil {
			return nil, err
		}
		if err := s.Raise(epoch); epoch > 0 && err != nil {
			return nil, err
		}
		segments[spec.Name] = s
	}
	return blocks.Of(segments)
}

func newSegments(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "dsp-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	for _, spec := range blocks.Specs() {
		f, err := os.Create(filepath.Join(dir, spec.Name))
		require.NoError(t, err)
		require.NoError(t, segment.Format(int(f.Fd()), spec.Size))
		require.NoError(t, f.Close())
	}
	return dir
}

func startWorker(t *testing.T, dir string, epoch uint64) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asWorker+"="+dir, withEpoch+"="+strconv.FormatUint(epoch, 10), "GORACE=atexit_sleep_ms=0")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// host hands in blocks as fast as they come back and holds what comes back against an undisturbed chain.
type host struct {
	t         *testing.T
	shared    *blocks.Shared
	noise     *rand.Rand
	chain     *chain.Chain
	line      chain.Line
	state     chain.State
	want      [blocks.Ring]chain.Block
	in, back  uint64
	different int
}

func newHost(t *testing.T, dir string) *host {
	shared, err := open(dir, 0)
	require.NoError(t, err)
	return &host{t: t, shared: shared, noise: rand.New(rand.NewPCG(1, 2)), chain: chain.New(), line: chain.NewLine()}
}

func (h *host) handIn() {
	block := h.shared.In(h.in)
	for i := range block {
		block[i] = h.noise.Float32()*2 - 1
	}
	var next chain.State
	h.chain.Process(&next, &h.state, h.line, &h.want[h.in%blocks.Ring], block)
	h.state = next
	h.in++
	h.shared.HandIn(h.in)
}

// await returns when something has come back, or false when nothing does.
func (h *host) await() bool {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		commits := h.shared.Commits()
		committed, err := h.shared.Committed()
		require.NoError(h.t, err)
		require.LessOrEqual(h.t, committed, h.in)
		require.GreaterOrEqual(h.t, committed, h.back, "the state goes back")
		if committed > h.back {
			for ; h.back < committed; h.back++ {
				if *h.shared.Out(h.back) != h.want[h.back%blocks.Ring] {
					h.different++
				}
			}
			return true
		}
		if err := h.shared.AwaitCommit(commits, time.Until(deadline)); err != nil {
			require.ErrorIs(h.t, err, segment.ErrTimeout)
		}
	}
	return false
}

// TestKilledWorkersLeaveNoTrace kills workers at any moment, with the successor started before, after or together.
func TestKilledWorkersLeaveNoTrace(t *testing.T) {
	dir := newSegments(t)
	h := newHost(t, dir)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	worker := startWorker(t, dir, 1)
	for epoch, end := uint64(1), time.Now().Add(6*time.Second); time.Now().Before(end); epoch++ {
		for range r.IntN(300) {
			for h.in-h.back < blocks.Ring/2 {
				h.handIn()
			}
			require.True(t, h.await(), "worker of epoch %d does nothing", epoch)
		}
		victim := worker
		dead := make(chan error, 1)
		time.AfterFunc(time.Duration(r.IntN(2000))*time.Microsecond, func() {
			_ = victim.Process.Kill()
			dead <- victim.Wait()
		})
		overlap := r.IntN(3) == 0
		if overlap { // the successor comes while the worker is alive, and stops it
			worker = startWorker(t, dir, epoch+1)
		}
		for h.in-h.back < blocks.Ring {
			h.handIn()
		}
		<-dead
		if !overlap {
			worker = startWorker(t, dir, epoch+1)
		}
	}
	for h.back < h.in {
		require.True(t, h.await())
	}
	_ = worker.Process.Kill()
	_ = worker.Wait()
	require.Zero(t, h.different, "of %d blocks", h.back)
	require.Greater(t, h.back, uint64(chain.LineFrames/chain.Frames), "blocks")
	t.Logf("%d blocks", h.back)
}

func TestAReplacedEngineStops(t *testing.T) {
	dir := newSegments(t)
	h := newHost(t, dir)
	first, err := open(dir, 1)
	require.NoError(t, err)
	e := engine.Start(t.Context(), true, slog.Default())
	over := make(chan error, 1)
	e.Run(first, 1, func(err error) { over <- err })
	h.handIn()
	require.True(t, h.await())
	end(t, dir, h, over)
	require.Zero(t, h.different)
}

// A host that counts what cannot be is complained about, once for each count; with a good one the music goes on.
func TestACountThatCannotBeIsWaitedOut(t *testing.T) {
	dir := newSegments(t)
	h := newHost(t, dir)
	shared, err := open(dir, 1)
	require.NoError(t, err)
	said := make(chan string, 10)
	e := engine.Start(t.Context(), false, slog.New(slog.NewTextHandler(lines(said), nil)))
	require.Contains(t, <-said, "ready")
	over := make(chan error, 1)
	e.Run(shared, 1, func(err error) { over <- err })
	h.handIn()
	require.True(t, h.await())
	for _, count := range []uint64{0, blocks.Ring + 2} {
		h.shared.HandIn(count)
		require.Contains(t, <-said, "expected 0 to 64")
		require.NoError(t, e.Check(time.Millisecond), "the worker cannot help it")
	}
	h.handIn()
	require.True(t, h.await())
	require.Zero(t, h.different)
	require.Empty(t, said)
	end(t, dir, h, over)
}

// lines sends what is written to it.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// end replaces the engine and waits for its end.
func end(t *testing.T, dir string, h *host, over <-chan error) {
	_, err := open(dir, 2) // raises the epoch
	require.NoError(t, err)
	for {
		select {
		case err := <-over:
			require.True(t, engine.Replaced(err), "%v", err)
			return
		default:
			h.shared.Nudge() // it may have been between its look and its sleep
		}
	}
}

// A thread that hangs is told from one that has nothing to do.
func TestAStandstillIsNoticed(t *testing.T) {
	dir := newSegments(t)
	h := newHost(t, dir)
	shared, err := open(dir, 1)
	require.NoError(t, err)
	e := engine.Start(t.Context(), false, slog.Default())
	require.NoError(t, e.Check(0), "a standby")
	hung, over := make(chan struct{}), make(chan error, 1)
	e.Run(shared, 1, func(err error) { <-hung; over <- err })
	require.NoError(t, e.Check(0))
	h.handIn()
	require.True(t, h.await())
	require.NoError(t, e.Check(0), "nothing to do")

	// Somebody commits in its place, so the thread's next commit ends it, and it
	// hangs. It does so twice: the thread still writes to the slot of the first.
	other, err := shared.Take(1)
	require.NoError(t, err)
	for range 2 {
		*other.Next() = *other.Current()
		require.NoError(t, other.Commit())
	}
	h.handIn()
	require.ErrorContains(t, e.Check(50*time.Millisecond), "audio: block 1 waits for more than 50ms")
	close(hung)
	require.True(t, engine.Replaced(<-over))
}

func TestNothingIsAllocatedForABlock(t *testing.T) {
	dir := newSegments(t)
	h := newHost(t, dir)
	shared, err := open(dir, 1)
	require.NoError(t, err)
	cell, err := shared.Take(1)
	require.NoError(t, err)
	h.handIn()
	c, line, state := chain.New(), shared.Line(), cell.Current()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c.Process(cell.Next(), state, line, shared.Out(0), shared.In(0))
		if err := cell.Commit(); err != nil {
			panic(err)
		}
		state = cell.Current()
	}))
}
