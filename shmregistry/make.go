package shmregistry

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/shmregistry/segment"
)

// creator is what the registry writes into a header to know its own again: its
// identity and the policy.
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

// makeMemfd makes a segment without a name, sealed so that nobody can change its
// size: a process that has it mapped need not fear SIGBUS. Its pages are taken
// when they are written to.
func makeMemfd(i instance, l label, spec Spec) (int, error) {
	file := l.fileName(i)
	// The first flag exists from Linux 6.3 on (memfd_create(2)); a system may
	// insist on it (sysctl vm.memfd_noexec).
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
	if err := format(fd, i, l, spec); err != nil {
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

// makeNamed makes a segment with names. All its pages are taken at once: where
// the file system has no room that is an error here, and not a SIGBUS in a worker
// later on. The names appear last, on a whole segment (O_TMPFILE, open(2)), so a
// kill at any instant leaves nothing, or what the next Open knows for its own.
//
// That takes its time: 0.12 s for 1 GiB on a 2-core virtual machine, 0.6 s while
// as much was being freed (BenchmarkPrepare).
func makeNamed(i instance, in links, l label, spec Spec) (int, error) {
	if err := fault.Error(fault.SegmentsNamed); err != nil {
		return -1, fmt.Errorf("making a file in %s: %w", in.dir, err)
	}
	fd, err := unix.Open(in.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, fmt.Errorf("making a file in %s: %w", in.dir, err)
	}
	file := l.fileName(i)
	err = format(fd, i, l, spec)
	if err == nil {
		err = reserve(fd, segment.HeaderSize+spec.Size)
	}
	if err == nil {
		err = in.make(fd, file)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("making %s: %w", in.public(file), err)
	}
	return fd, nil
}

// format writes the header of a new segment.
func format(fd int, i instance, l label, spec Spec) error {
	if err := segment.FormatFor(fd, spec.Size, creator(i, spec.OnDeath)); err != nil {
		return err
	}
	return segment.WriteLabel(fd, l.String())
}

// reserve takes the file's pages. It goes step by step, because fallocate(2)
// undoes all it did when a signal interrupts it.
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

// found is a segment that is provably ours.
type found struct {
	label
	file   string
	policy Policy
	info   segment.Info
	fd     int
	made   time.Time
}

// openOurs opens what may be a segment of this registry, and proves by its header
// that it is, under the name that it was made with. Anything else, be it no
// segment or not even a file, comes back as an error and is left alone.
func openOurs(i instance, path, file string, flags int) (found, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return found{}, fmt.Errorf("opening %s: %w", path, err)
	}
	info, err := segment.Read(fd)
	policy, is := ours(i, info)
	l, labelled := readLabel(i, fd, file)
	if err != nil || !is || !labelled {
		_ = unix.Close(fd)
		return found{}, fmt.Errorf("%s: %w", path, errForeign)
	}
	return found{label: l, file: file, policy: policy, info: info, fd: fd, made: changeTime(fd)}, nil
}

// changeTime is when the file was last changed, or now.
func changeTime(fd int) time.Time {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return time.Now().UTC()
	}
	return time.Unix(st.Mtim.Unix()).UTC()
}

// heldByNobody says whether fd is the only descriptor of the file, in any
// process, and the file is mapped nowhere. A write lease is granted only then
// (fcntl(2), "Leases"; check_conflicting_open in fs/locks.c). It must be asked
// of a descriptor that was opened here and passed to nobody. Where leases do
// not work the answer is no.
func heldByNobody(fd int) bool {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return false
	}
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	return true
}
