// Package epochs keeps epochs from falling over the end of the supervisor,
// orderly or not. One file in the state directory holds a mark that no epoch of
// any binding has passed. It is written ahead of use, in blocks, beside the
// event loop, so that a failover never waits for a disk.
//
// A supervisor that starts finds the mark of its predecessor: bindings begin
// above it. After an orderly stop it is the highest epoch that was used; else up
// to a block more. Where the file is damaged, or could not be written, bindings
// begin at the time of now in microseconds, which neither the counting of
// failovers reaches nor the blocks that restarts in a row leave out.
package epochs

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"understudy/internal/atomicfile"
	"understudy/internal/fault"
)

// Block is how many epochs are reserved with one write.
const Block = 1000

// FileName is the mark's file in the state directory.
const FileName = "epochs"

const (
	header      = "understudy epochs 1"
	longestFile = 256
	writePause  = time.Second // after a write that failed
)

// Mark is the reserved epochs of one supervisor. Its methods are for any
// goroutine; Use never waits for a disk.
type Mark struct {
	path string
	log  *slog.Logger
	io   files
	base uint64

	mu       sync.Mutex
	used     uint64
	reserved uint64 // on disk
	// timed: the file is gone or damaged, so that a successor begins with the
	// time, and every epoch of now is below its own.
	timed     bool
	notBefore time.Time // of the next write
	closed    bool
	writing   chan struct{} // closed when the write under way has ended; nil without one
}

// files is how the file is read and written, so that tests can make it fail.
type files struct {
	read     func(path string) ([]byte, error)
	write    func(path string, content []byte) error
	truncate func(path string) error
	now      func() time.Time
}

var disk = files{
	read:     readSmall,
	write:    replace,
	truncate: func(path string) error { return os.Truncate(path, 0) },
	now:      time.Now,
}

// Open reads the mark that a predecessor left in dir, which belongs to this
// supervisor alone, and reserves a block above it. A file that is damaged or
// cannot be written is no error: see the package's comment.
func Open(dir string, log *slog.Logger) *Mark { return open(dir, log, disk) }

func open(dir string, log *slog.Logger, io files) *Mark {
	m := &Mark{path: filepath.Join(dir, FileName), log: log, io: io}
	base, err := m.read()
	if err != nil {
		base = m.time()
		log.Error("mark of the epochs is damaged; epochs begin with the time", "file", m.path, "error", err, "epoch", base)
	}
	m.base, m.used = base, base
	if err := m.reserve(base + Block); err != nil {
		m.mu.Lock()
		m.base = max(base, m.time())
		m.used = m.base
		m.mu.Unlock()
		log.Error("epochs begin with the time", "epoch", m.base)
	}
	return m
}

// Base is the epoch above which bindings begin. No epoch of an earlier life is
// higher.
func (m *Mark) Base() uint64 { return m.base }

// Use says that an epoch is about to be used, and reports whether it may be: a
// successor will begin above it. It is refused only while a whole block was
// used faster than a file is written.
func (m *Mark) Use(epoch uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = max(m.used, epoch)
	if m.used+Block/2 > m.reserved && m.writing == nil && !m.closed && !m.io.now().Before(m.notBefore) {
		m.writing = make(chan struct{})
		go m.write(m.used+Block, m.writing)
	}
	return epoch <= m.reserved || m.timed
}

func (m *Mark) write(to uint64, done chan struct{}) {
	err := m.reserve(to)
	m.mu.Lock()
	m.writing = nil
	if err != nil {
		m.notBefore = m.io.now().Add(writePause) // a broken disk is not asked at every failover
	}
	m.mu.Unlock()
	close(done)
}

// Close writes the highest epoch that was used, so that none is left out.
func (m *Mark) Close() error {
	m.mu.Lock()
	m.closed = true
	writing, used := m.writing, m.used
	m.mu.Unlock()
	if writing != nil {
		<-writing
	}
	return m.reserve(used)
}

// reserve writes a mark. Where that fails, the file is emptied, which takes no
// room: a successor begins with the time.
func (m *Mark) reserve(to uint64) error {
	err := m.io.write(m.path, encode(to))
	timed := false
	if err != nil {
		err = fmt.Errorf("mark of the epochs: %w", err)
		emptied := m.io.truncate(m.path)
		timed = emptied == nil || errors.Is(emptied, fs.ErrNotExist) && m.io.write(m.path, nil) == nil
		m.log.Error("mark of the epochs cannot be written", "error", err, "emptied", timed)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.reserved = to
	}
	m.timed = timed
	return err
}

func (m *Mark) time() uint64 { return uint64(m.io.now().UnixMicro()) }

func (m *Mark) read() (uint64, error) {
	b, err := m.io.read(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // the first life
	}
	if err != nil {
		return 0, err
	}
	return decode(b)
}

func encode(mark uint64) []byte {
	line := fmt.Sprintf("%s %d", header, mark)
	return fmt.Appendf(nil, "%s %08x\n", line, crc32.ChecksumIEEE([]byte(line)))
}

func decode(b []byte) (mark uint64, err error) {
	if _, err := fmt.Sscanf(strings.TrimPrefix(string(b), header), " %d", &mark); err != nil {
		return 0, fmt.Errorf("%d bytes are no mark", len(b))
	}
	if !bytes.Equal(b, encode(mark)) {
		return 0, errors.New("checksum does not match")
	}
	return mark, nil
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > longestFile {
		return nil, fmt.Errorf("%s with %d bytes is no mark", info.Mode(), info.Size())
	}
	return os.ReadFile(path)
}

// replace writes the file as one step, on disk when it returns.
func replace(path string, b []byte) error { return atomicfile.Replace(path, b, labels) }

var labels = atomicfile.Labels{Write: fault.EpochsWrite, Sync: fault.EpochsSync, Rename: fault.EpochsRename, DirSync: fault.EpochsDirSync}
