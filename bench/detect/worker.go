package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"understudy/internal/monotime"
	heirpkg "understudy/worker/heir"
)

const (
	workerRole = "detect-worker"
	// stampFD is where the worker finds the stamp.
	stampFD = 3
	// page is a step that touches every page of any size.
	page = 4096
)

// stamp is the time, CLOCK_MONOTONIC, at which a death begins, in memory that
// the bench and the process that dies share.
type stamp struct {
	file *os.File
	at   *atomic.Int64
	mem  []byte
}

func newStamp() (*stamp, error) {
	fd, err := unix.MemfdCreate("stamp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("stamp: %w", err)
	}
	f := os.NewFile(uintptr(fd), "stamp")
	if err := f.Truncate(page); err != nil {
		return nil, errors.Join(fmt.Errorf("stamp: %w", err), f.Close())
	}
	return openStamp(f)
}

func openStamp(f *os.File) (*stamp, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stamp: %w", err), f.Close())
	}
	return &stamp{file: f, at: (*atomic.Int64)(unsafe.Pointer(&mem[0])), mem: mem}, nil
}

func (s *stamp) now() { s.at.Store(monotime.Now()) }

func (s *stamp) close() {
	_ = unix.Munmap(s.mem)
	s.file.Close()
}

// worker is the process that dies: arguments are its size in MiB, the way to
// die, and bare or heir. It says its heir's pid (0 without) when it is ready,
// and dies at a byte on its standard input, or when it is killed.
func worker() error {
	if len(os.Args) != 4 {
		return fmt.Errorf("arguments are MB DEATH WORKER, not %q", os.Args[1:])
	}
	mb, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return fmt.Errorf("size: %w", err)
	}
	s, err := openStamp(os.NewFile(stampFD, "stamp"))
	if err != nil {
		return err
	}
	if _, err := occupy(mb, nil); err != nil {
		return err
	}
	how := death(os.Args[2])
	if how == sigsegv {
		// Go's own handler would make a panic of it. All zero is SIG_DFL.
		var action [32]byte // struct sigaction
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSEGV),
			uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); errno != 0 {
			return fmt.Errorf("default action for SIGSEGV: %w", errno)
		}
	}
	pid := 0
	if os.Args[3] == heir {
		h, err := heirpkg.Start(nil)
		if err != nil {
			return err
		}
		pid = h.Pid()
	}
	fmt.Println(pid)
	if n, _ := os.Stdin.Read(make([]byte, 1)); n == 0 {
		return nil // the bench is gone
	}
	switch how {
	case exit:
		s.now()
		os.Exit(0)
	case panics:
		s.now()
		panic("on purpose")
	case oom:
		// It is dead some time after the last stamp.
		_, err := occupy(1<<20, s.now)
		return fmt.Errorf("memory without end: %w", err)
	}
	return fmt.Errorf("death %q does not come from inside", how)
}

// occupy makes so much memory resident, and calls each for every page.
func occupy(mb int, each func()) ([]byte, error) {
	if mb == 0 {
		return nil, nil
	}
	mem, err := unix.Mmap(-1, 0, mb<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("%d MB: %w", mb, err)
	}
	// Ordinary pages, as most memory of most programs is; huge ones are freed
	// much quicker.
	_ = unix.Madvise(mem, unix.MADV_NOHUGEPAGE)
	for i := 0; i < len(mem); i += page {
		if each != nil {
			each()
		}
		mem[i] = 1
	}
	return mem, nil
}
