package shmregistry

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/shmregistry/segment"
)

// creator is what the registry writes into a header to know its own again: its identity and the policy.
func creator(i instance, p Policy) (c [segment.CreatorSize]byte) {
	copy(c[:], i[:])
	c[len(i)] = policyByte(p)
	return c
}

func policyByte(p Policy) byte {
	if p == Handover {
		return 1
	}
	return 2
}

// ours says whether a header is of this registry, and which policy it names.
func ours(i instance, info segment.Info) (Policy, bool) {
	for _, p := range []Policy{Handover, Unlink} {
		if info.Creator == creator(i, p) {
			return p, true
		}
	}
	return "", false
}

// makeMemfd makes a segment without a name, sealed so that nobody can change its size: whoever has it mapped need not
// fear a SIGBUS. Its pages are taken when they are written to.
func makeMemfd(i instance, file string, spec Spec) (int, error) {
	// The first flag exists from Linux 6.3 on (memfd_create(2)); a system may insist on it (sysctl vm.memfd_noexec).
	if err := fault.Error(fault.SegmentsMemfd); err != nil {
		return -1, fmt.Errorf("making a memfd: %w", err)
	}
	fd, err := unix.MemfdCreate(file, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(file, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, fmt.Errorf("making a memfd: %w", err)
	}
	if err := segment.FormatFor(fd, spec.Size, creator(i, spec.OnDeath)); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("sealing a memfd: %w", err)
	}
	return fd, nil
}

// makeNamed makes a segment with a name in dir. All its pages are taken at once: where the file system has no room
// that is an error here, and not a SIGBUS in a worker later on. The name appears last, on a whole segment (O_TMPFILE,
// open(2)), so a kill at any instant leaves nothing, or what the next Open knows for its own.
//
// That takes its time: 0.12 s for 1 GiB on a 2-core virtual machine, 0.6 s while as much was being freed
// (BenchmarkPrepare).
func makeNamed(i instance, dir, file string, spec Spec) (int, error) {
	if err := fault.Error(fault.SegmentsNamed); err != nil {
		return -1, fmt.Errorf("making a file in %s: %w", dir, err)
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, fmt.Errorf("making a file in %s: %w", dir, err)
	}
	err = segment.FormatFor(fd, spec.Size, creator(i, spec.OnDeath))
	if err == nil {
		err = reserve(fd, segment.HeaderSize+spec.Size)
	}
	if err == nil {
		err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd),
			unix.AT_FDCWD, filepath.Join(dir, file), unix.AT_SYMLINK_FOLLOW)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("making %s: %w", filepath.Join(dir, file), err)
	}
	return fd, nil
}

// reserve takes the file's pages. It goes step by step, because fallocate(2) undoes all it did when a signal
// interrupts it.
func reserve(fd int, size int64) error {
	const step = 64 << 20
	for at := int64(0); at < size; {
		n := min(step, size-at)
		switch err := unix.Fallocate(fd, 0, at, n); {
		case err == nil:
			at += n
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("taking %d bytes: %w", size, err)
		}
	}
	return nil
}

// openOurs opens a file of the shared-memory directory and proves by its header that it is this registry's. Anything
// else, be it no segment or not even a file, comes back as an error and is left alone.
func openOurs(i instance, path string) (int, segment.Info, Policy, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, segment.Info{}, "", fmt.Errorf("opening %s: %w", path, err)
	}
	info, err := segment.Read(fd)
	if err == nil {
		if policy, is := ours(i, info); is {
			return fd, info, policy, nil
		}
		err = errors.New("another creator in its header")
	}
	_ = unix.Close(fd)
	return -1, segment.Info{}, "", fmt.Errorf("%s: %w", path, err)
}

// errForeign says that a name of ours stands for a file that is not.
var errForeign = errors.New("it is not the file that was made under this name")

// unlinkOurs removes a name if it is still that of the file behind fd. A name that is gone already is no error here:
// [os.ErrNotExist] says so.
func unlinkOurs(path string, fd int) error {
	var named, held unix.Stat_t
	if err := unix.Fstatat(unix.AT_FDCWD, path, &named, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	if err := unix.Fstat(fd, &held); err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	if named.Dev != held.Dev || named.Ino != held.Ino {
		return fmt.Errorf("removing %s: %w", path, errForeign)
	}
	if err := unix.Unlink(path); err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}

// heldByNobody says whether fd is the only descriptor of the file, in any process, and the file is mapped nowhere. A
// write lease is granted only then (fcntl(2), "Leases"; check_conflicting_open in fs/locks.c). It must be asked of a
// descriptor that was opened here and passed to nobody. Where leases do not work the answer is no.
func heldByNobody(fd int) bool {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return false
	}
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	return true
}
