package leak

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mqOpenRaw makes a queue; the name has no slash (mq_open(2), the system call).
func mqOpenRaw(name *byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)),
		unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func TestMessageQueue(t *testing.T) {
	b := newBed(t, nil).proven()
	if len(b.loop.dirs) < 2 || !b.loop.dirs[1].watch.names() {
		t.Skip(b.Sources())
	}
	name := fmt.Sprintf("leaktest-%d-q", os.Getpid())
	dir := b.loop.dirs[1].fd
	t.Cleanup(func() { _ = unix.Unlinkat(dir, name, 0); _ = unix.Unlinkat(dir, name+"-f", 0) })

	foreign := script(t, "mq "+name+"-f")
	foreign.ready()
	w := script(t, "mq "+name)
	b.Watch(w.pid, Remove)
	w.ready()
	w.kill()
	b.Ended(w.pid)
	f := b.next(1)[name]
	require.Equal(t, Removed, f.Action, f.Why)
	require.Equal(t, MessageQueue, f.Kind)
	require.ErrorIs(t, unix.Faccessat(dir, name, 0, 0), unix.ENOENT)
	foreign.kill()
	b.none()
	require.NoError(t, unix.Faccessat(dir, name+"-f", 0, 0))
}
