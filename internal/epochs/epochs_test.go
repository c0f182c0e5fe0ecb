package epochs

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestFirstLifeBeginsAtOne(t *testing.T) {
	m := Open(t.TempDir(), quiet)
	require.Zero(t, m.Base())
	require.True(t, m.Use(1))
	require.NoError(t, m.Close())
}

func TestOrderlyStopLeavesNothingOut(t *testing.T) {
	dir := t.TempDir()
	m := Open(dir, quiet)
	require.True(t, m.Use(7))
	require.NoError(t, m.Close())
	m = Open(dir, quiet)
	require.Equal(t, uint64(7), m.Base())
	require.NoError(t, m.Close())
}

// memory is a disk that a test can fill.
type memory struct {
	there   bool
	content []byte
	full    bool
	clock   time.Time
}

func (d *memory) files() files {
	return files{
		read: func(string) ([]byte, error) {
			if !d.there {
				return nil, os.ErrNotExist
			}
			return d.content, nil
		},
		write: func(_ string, b []byte) error {
			if d.full && len(b) > 0 {
				return unix.ENOSPC
			}
			d.there, d.content = true, b
			return nil
		},
		truncate: func(string) error {
			if !d.there {
				return os.ErrNotExist
			}
			d.content = nil
			return nil
		},
		now: func() time.Time { return d.clock },
	}
}

// A life without Close was killed: the next one begins above all that it may
// have used. The disk may be full in any of them, and the file be damaged
// between two.
func TestEpochsNeverFallOverAnyEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &memory{clock: time.Now()}
		var highest uint64
		for range rapid.IntRange(2, 8).Draw(t, "lives") {
			// Restarts in a row, each of which skips a block.
			d.clock = d.clock.Add(time.Duration(rapid.Int64Range(int64(10*time.Millisecond), int64(time.Hour)).Draw(t, "pause")))
			d.full = rapid.Bool().Draw(t, "full disk")
			m := open("", quiet, d.files())
			require.GreaterOrEqual(t, m.Base(), highest)
			epoch := m.Base()
			for range rapid.IntRange(0, 20).Draw(t, "uses") {
				next := epoch + uint64(rapid.IntRange(1, 200).Draw(t, "step"))
				for !m.Use(next) {
					m.wait()
				}
				epoch = next
			}
			highest = max(highest, epoch)
			if rapid.Bool().Draw(t, "orderly") {
				_ = m.Close()
			}
			m.wait()
			if d.there && rapid.IntRange(0, 4).Draw(t, "damage") == 0 {
				d.content = d.content[:len(d.content)/2]
			}
		}
	})
}

// wait is for the write that is under way.
func (m *Mark) wait() {
	m.mu.Lock()
	writing := m.writing
	m.mu.Unlock()
	if writing != nil {
		<-writing
	}
}

func TestDamagedFileBeginsWithTheTime(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "garbage": "\x00\x01\x02", "cut": "understudy epochs 1 50",
		"changed": string(encode(5000))[:20] + "9" + string(encode(5000))[21:],
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte(content), 0o600))
			before := uint64(time.Now().UnixMicro())
			m := Open(dir, quiet)
			require.GreaterOrEqual(t, m.Base(), before)
			require.NoError(t, m.Close())
			again := Open(dir, quiet)
			require.Equal(t, m.Base(), again.Base(), "the damage is mended")
			require.NoError(t, again.Close())
		})
	}
}

// An epoch beyond what is on disk is not used before it is.
func TestEpochWaitsForTheDisk(t *testing.T) {
	slow := make(chan struct{})
	io := disk
	writes := 0
	io.write = func(path string, b []byte) error {
		if writes++; writes > 1 {
			<-slow
		}
		return disk.write(path, b)
	}
	m := open(t.TempDir(), quiet, io)
	require.True(t, m.Use(Block))
	require.False(t, m.Use(Block+1))
	close(slow)
	m.wait()
	require.True(t, m.Use(Block+1))
	require.NoError(t, m.Close())
}

func TestFailedWriteEmptiesTheFile(t *testing.T) {
	dir := t.TempDir()
	io := disk
	broken := false
	io.write = func(path string, b []byte) error {
		if broken {
			return errors.New("no space left on device")
		}
		return disk.write(path, b)
	}
	m := open(dir, quiet, io)
	broken = true
	require.Error(t, m.reserve(2*Block))
	require.True(t, m.Use(5*Block), "a successor begins with the time, so any epoch may be used")
	require.Error(t, m.Close())
	next := Open(dir, quiet)
	require.Greater(t, next.Base(), uint64(5*Block))
	require.NoError(t, next.Close())
}
