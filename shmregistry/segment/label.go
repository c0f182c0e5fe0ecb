package segment

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Behind the fields, on the header's page, is the creator's label: what the
// segment is, as a text. It is a u16 with the text's length, and the text.
const (
	atLabel = 128

	// LabelSize is the longest label, in bytes.
	LabelSize = HeaderSize - atLabel - 2
)

// WriteLabel puts the label into the header behind fd. A label that is too long
// fails with EINVAL.
func WriteLabel(fd int, label string) error {
	if len(label) > LabelSize {
		return fmt.Errorf("label of %d bytes, expected at most %d: %w", len(label), LabelSize, unix.EINVAL)
	}
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(label)))
	if n, err := unix.Pwrite(fd, append(b, label...), atLabel); err != nil || n != len(b)+len(label) {
		return fmt.Errorf("writing a segment's label: %d bytes written: %w", n, err)
	}
	return nil
}

// ReadLabel returns the label behind fd, "" where there is none. A length that
// cannot be fails with [ErrLayout].
func ReadLabel(fd int) (string, error) {
	var b [HeaderSize - atLabel]byte
	n, err := unix.Pread(fd, b[:], atLabel)
	if err != nil {
		return "", fmt.Errorf("reading a segment's label: %w", err)
	}
	if n < 2 {
		return "", fmt.Errorf("no room for a label: %w", ErrLayout)
	}
	length := int(binary.LittleEndian.Uint16(b[:]))
	if length > n-2 {
		return "", fmt.Errorf("label of %d bytes, expected at most %d: %w", length, n-2, ErrLayout)
	}
	return string(b[2 : 2+length]), nil
}
