package leak

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// fanotify names the process that made an object: fanotify(7), with directory
// and name in the event (FAN_REPORT_DFID_NAME, Linux 5.9).
type fanotify struct {
	fd     int
	buffer []byte
}

const fanotifyMask = unix.FAN_CREATE | unix.FAN_MOVED_TO | unix.FAN_MOVED_FROM | unix.FAN_DELETE |
	unix.FAN_CLOSE_WRITE | unix.FAN_CLOSE_NOWRITE | unix.FAN_EVENT_ON_CHILD

func newFanotify(d *directory) (*fanotify, error) {
	const flags = unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_REPORT_DFID_NAME
	// Since Linux 5.13 anybody may listen, but without CAP_SYS_ADMIN every pid
	// is 0. This flag is refused without it; the queue we keep is bounded.
	probe, err := unix.FanotifyInit(flags|unix.FAN_UNLIMITED_QUEUE, unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("fanotify with pids: %w", err)
	}
	unix.Close(probe)
	fd, err := unix.FanotifyInit(flags, unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("fanotify: %w", err)
	}
	err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_ONLYDIR, fanotifyMask, unix.AT_FDCWD, d.self())
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("fanotify mark on %s: %w", d.path, err)
	}
	return &fanotify{fd: fd, buffer: make([]byte, 64<<10)}, nil
}

func (f *fanotify) descriptor() int { return f.fd }
func (f *fanotify) names() bool     { return true }
func (f *fanotify) close()          { unix.Close(f.fd) }

func (f *fanotify) read() ([]notice, error) {
	n, err := unix.Read(f.fd, f.buffer)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read fanotify: %w", err)
	}
	return parseFanotify(f.buffer[:n])
}

// parseFanotify reads struct fanotify_event_metadata and the information
// records behind it (fanotify(7), include/uapi/linux/fanotify.h).
func parseFanotify(b []byte) ([]notice, error) {
	const header = unix.FAN_EVENT_METADATA_LEN
	var out []notice
	for len(b) >= header {
		length := int(binary.NativeEndian.Uint32(b))
		meta := int(binary.NativeEndian.Uint16(b[6:]))
		if length < header || length > len(b) || meta > length || b[4] != unix.FANOTIFY_METADATA_VERSION {
			return out, fmt.Errorf("fanotify event of %d bytes, version %d", length, b[4])
		}
		mask := binary.NativeEndian.Uint64(b[8:])
		n := notice{
			pid:      int(int32(binary.NativeEndian.Uint32(b[20:]))),
			made:     mask&unix.FAN_CREATE != 0,
			arrived:  mask&unix.FAN_MOVED_TO != 0,
			left:     mask&(unix.FAN_DELETE|unix.FAN_MOVED_FROM) != 0,
			closed:   mask&unix.FAN_CLOSE != 0,
			overflow: mask&unix.FAN_Q_OVERFLOW != 0,
			name:     nameIn(b[meta:length]),
		}
		if n.overflow || n.name != "" {
			out = append(out, n)
		}
		b = b[length:]
	}
	return out, nil
}

// nameIn finds the record with the name: type, pad, length (u16), fsid (8
// bytes), size of the handle (u32), its type (s32), the handle, the name, a
// zero.
func nameIn(b []byte) string {
	for len(b) >= 4 {
		length := int(binary.NativeEndian.Uint16(b[2:]))
		if length < 4 || length > len(b) {
			return ""
		}
		if b[0] == unix.FAN_EVENT_INFO_TYPE_DFID_NAME && length >= 20 {
			handle := int(binary.NativeEndian.Uint32(b[12:]))
			if handle >= 0 && 20+handle <= length {
				return unix.ByteSliceToString(b[20+handle : length])
			}
			return ""
		}
		b = b[length:]
	}
	return ""
}
