package leak

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"understudy/internal/procfs"
)

var (
	errHeld    = errors.New("somebody else holds it")
	errMaker   = errors.New("the process that made it, a child of the worker, still runs")
	errGone    = errors.New("it is gone")
	errChanged = errors.New("the name stands for another object now")
	errLinked  = errors.New("it has another name too")
)

// remove unlinks the object if nobody else has it open or mapped. See the
// package comment for what a write lease proves.
func (o *object) remove() error {
	if o.maker != o.worker.pid && o.start > 0 && procfs.Alive(o.maker, o.start) {
		return errMaker
	}
	// O_NONBLOCK: never wait for a lease of somebody else's.
	fd, err := unix.Openat(o.dir.fd, o.name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return errGone
	case errors.Is(err, unix.EWOULDBLOCK):
		return errHeld
	case err != nil:
		return fmt.Errorf("open %s: %w", o.name, err)
	}
	defer unix.Close(fd)
	if err := o.same(fd, "", unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if err := lease(fd); err != nil {
		return err
	}
	if err := o.same(o.dir.fd, o.name, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	// Another process opened it meanwhile, and is breaking the lease.
	if got, err := unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0); err != nil || got != unix.F_WRLCK {
		return errHeld
	}
	if err := unix.Unlinkat(o.dir.fd, o.name, 0); err != nil {
		return fmt.Errorf("unlink %s: %w", o.name, err)
	}
	return nil
}

func (o *object) same(fd int, name string, flags int) error {
	id, _, links, err := lookAt(fd, name, flags)
	switch {
	case errors.Is(err, unix.ENOENT):
		return errGone
	case errors.Is(err, errNotRegular):
		return errChanged
	case err != nil:
		return err
	case id != o.id:
		return errChanged
	case links > 1:
		return errLinked
	}
	return nil
}

// lease takes a write lease; closing the descriptor gives it back. SIGURG is
// what a break of it sends: the Go runtime expects that signal at any time,
// while SIGIO, the default, belongs to the program.
func lease(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETSIG, int(unix.SIGURG)); err != nil {
		return fmt.Errorf("set the signal of a lease: %w", err)
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return errHeld
	case err != nil:
		return fmt.Errorf("take a lease: %w", err)
	}
	return nil
}

// probeLease returns nil if a lease in this directory is refused while a mapping
// exists whose descriptor is closed, and granted when it is gone. The file it
// uses has no name.
func probeLease(d *directory) error {
	first, err := unix.Openat(d.fd, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("open an unnamed file: %w", err)
	}
	second, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", first), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(first)
		return fmt.Errorf("open an unnamed file again: %w", err)
	}
	defer unix.Close(second)
	m, err := unix.Mmap(first, 0, unix.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	unix.Close(first)
	if err != nil {
		return fmt.Errorf("map an unnamed file: %w", err)
	}
	mapped := lease(second)
	if err := unix.Munmap(m); err != nil {
		return fmt.Errorf("unmap an unnamed file: %w", err)
	}
	if mapped == nil {
		return errors.New("a lease was granted beside a mapping")
	}
	if !errors.Is(mapped, errHeld) {
		return mapped
	}
	return lease(second)
}
