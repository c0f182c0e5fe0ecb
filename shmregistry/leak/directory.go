package leak

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// directory is one place where objects have names.
type directory struct {
	kind   Kind // MessageQueue, or SharedMemory for the one that has semaphores too
	path   string
	fd     int
	watch  source
	broken bool // its events cannot be read any more
}

const mqueueMagic = 0x19800202 // MQUEUE_MAGIC, ipc/mqueue.c

func openDirectory(kind Kind, path string) (*directory, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &directory{kind: kind, path: filepath.Clean(path), fd: fd}, nil
}

// openMqueues opens the message queues' file system where it is mounted, or
// mounts it for this process alone: such a mount has no place in any tree and
// goes with its descriptor (fsopen, fsmount; Linux 5.2). That needs
// CAP_SYS_ADMIN.
func openMqueues(path string) (*directory, error) {
	d, err := openDirectory(MessageQueue, path)
	if err == nil {
		var st unix.Statfs_t
		if err := unix.Fstatfs(d.fd, &st); err == nil && st.Type == mqueueMagic {
			return d, nil
		}
		unix.Close(d.fd)
		err = fmt.Errorf("%s is not a mount of mqueue", path)
	}
	ctx, merr := unix.Fsopen("mqueue", unix.FSOPEN_CLOEXEC)
	if merr != nil {
		return nil, fmt.Errorf("%w; and a private mount: %w", err, merr)
	}
	defer unix.Close(ctx)
	if merr := unix.FsconfigCreate(ctx); merr != nil {
		return nil, fmt.Errorf("%w; and a private mount: %w", err, merr)
	}
	fd, merr := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if merr != nil {
		return nil, fmt.Errorf("%w; and a private mount: %w", err, merr)
	}
	defer unix.Close(fd)
	// What fsmount returns is an O_PATH descriptor; watches want a real one.
	d, err = openDirectory(MessageQueue, fmt.Sprintf("/proc/self/fd/%d", fd))
	if err == nil {
		d.path = "message queues (private mount)"
	}
	return d, err
}

// self is a path to the very directory, whatever is mounted over its name.
func (d *directory) self() string { return fmt.Sprintf("/proc/self/fd/%d", d.fd) }

func (d *directory) close() {
	if d.watch != nil {
		d.watch.close()
	}
	unix.Close(d.fd)
}
