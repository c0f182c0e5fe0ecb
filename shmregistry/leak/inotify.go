package leak

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// inotify names new objects, not who made them. The well-known library for it
// does not tell of closes, hence these few lines.
type inotify struct {
	fd     int
	buffer []byte
}

func newInotify(d *directory) (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	const mask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE |
		unix.IN_CLOSE_WRITE | unix.IN_CLOSE_NOWRITE | unix.IN_ONLYDIR
	if _, err := unix.InotifyAddWatch(fd, d.self(), mask); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("inotify watch on %s: %w", d.path, err)
	}
	return &inotify{fd: fd, buffer: make([]byte, 64<<10)}, nil
}

func (i *inotify) descriptor() int { return i.fd }
func (i *inotify) names() bool     { return false }
func (i *inotify) close()          { unix.Close(i.fd) }

func (i *inotify) read() ([]notice, error) {
	n, err := unix.Read(i.fd, i.buffer)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read inotify: %w", err)
	}
	return parseInotify(i.buffer[:n])
}

// parseInotify reads struct inotify_event (inotify(7)).
func parseInotify(b []byte) ([]notice, error) {
	var out []notice
	for len(b) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(b[4:])
		length := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if length > len(b) {
			return out, fmt.Errorf("inotify event of %d bytes", length)
		}
		n := notice{
			name:     unix.ByteSliceToString(b[unix.SizeofInotifyEvent:length]),
			made:     mask&unix.IN_CREATE != 0,
			arrived:  mask&unix.IN_MOVED_TO != 0,
			left:     mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0,
			closed:   mask&unix.IN_CLOSE != 0,
			overflow: mask&unix.IN_Q_OVERFLOW != 0,
		}
		if n.overflow || n.name != "" && mask&unix.IN_ISDIR == 0 {
			out = append(out, n)
		}
		b = b[length:]
	}
	return out, nil
}
