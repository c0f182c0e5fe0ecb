// Package cpio writes archives in the "newc" form, the one that the kernel
// unpacks as its first root file system
// (Documentation/driver-api/early-userspace/buffer-format.rst).
package cpio

import (
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"
)

// Writer writes one archive. The first error stays.
type Writer struct {
	w     io.Writer
	at    int64
	inode int
	err   error
}

// NewWriter begins an archive.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// entry is what the format says of a file; all fields are 8 hexadecimal digits.
type entry struct {
	name         string
	mode         uint32
	size         int64
	major, minor int // of the device that the file is
}

// Dir adds a directory. Parents come before their children.
func (w *Writer) Dir(name string, perm uint32) {
	w.entry(entry{name: name, mode: unix.S_IFDIR | perm}, nil)
}

// Device adds a character device.
func (w *Writer) Device(name string, perm uint32, major, minor int) {
	w.entry(entry{name: name, mode: unix.S_IFCHR | perm, major: major, minor: minor}, nil)
}

// File adds a regular file of exactly size bytes.
func (w *Writer) File(name string, perm uint32, size int64, content io.Reader) {
	w.entry(entry{name: name, mode: unix.S_IFREG | perm, size: size}, content)
}

// Close ends the archive and returns the first error there was.
func (w *Writer) Close() error {
	w.entry(entry{name: "TRAILER!!!"}, nil)
	return w.err
}

func (w *Writer) entry(e entry, content io.Reader) {
	if w.err == nil {
		if err := w.write(e, content); err != nil {
			w.err = fmt.Errorf("cpio: %s: %w", e.name, err)
		}
	}
}

func (w *Writer) write(e entry, content io.Reader) error {
	if e.size > math.MaxUint32 {
		return fmt.Errorf("%d bytes are more than the format can tell", e.size)
	}
	e.name = strings.TrimPrefix(e.name, "/")
	w.inode++
	// Inode, mode, owner, group, links, time, size, the archive's device, the
	// file's device, length of the name with its NUL, no checksum.
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		w.inode, e.mode, 0, 0, 1, 0, e.size, 0, 0, e.major, e.minor, len(e.name)+1, 0)
	if err := w.copy(strings.NewReader(header+e.name+"\x00"), -1); err != nil {
		return err
	}
	if e.size == 0 {
		return nil
	}
	return w.copy(content, e.size)
}

// copy writes size bytes, or all where that is -1, and pads to four.
func (w *Writer) copy(from io.Reader, size int64) error {
	if size >= 0 {
		from = io.LimitReader(from, size)
	}
	n, err := io.Copy(w.w, from)
	w.at += n
	if err == nil && size >= 0 && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	pad := -w.at & 3
	w.at += pad
	_, err = w.w.Write(make([]byte, pad))
	return err
}
