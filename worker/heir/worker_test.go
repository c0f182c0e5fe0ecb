//go:build linux && (amd64 || arm64)

package heir

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const specEnv = "HEIR_TEST_WORKER"

// The descriptors every worker is started with.
const (
	reportFD = 3 + iota // pipe: one report, when it is ready
	unixFD              // listener, shared with the test
	tcpFD               // listener, shared with the test
	fenceFD             // eventfd
)

// spec says how a worker behaves.
type spec struct {
	Heir    bool
	Ballast int    // MB of touched memory beside the runtime's own
	Busy    int    // OS threads that spin
	Track   string // which descriptors: "" accepted connections, none, listener (the unix one, nothing accepted), all
	NoFence bool   // the heir is not told of it
	Do      string // before it is ready: children, load
	On      string // at the end of its stdin: exit, core, execve, close, replace
}

// report is what a ready worker tells the test.
type report struct {
	Heir   int    // pid
	Failed string // what went wrong
}

// runWorker is the worker: it never returns unless it fails.
func runWorker(text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	var h *Heir
	var r report
	if s.Heir {
		var err error
		fence := os.NewFile(fenceFD, "fence")
		if s.NoFence {
			fence = nil
		}
		if h, err = Start(fence); err != nil {
			return err
		}
		r.Heir = h.Pid()
	}
	ballast, err := touch(s.Ballast)
	if err != nil {
		return err
	}
	// A P each, so that all of them run at once, and some for the rest.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + s.Busy)
	for range s.Busy {
		go func() {
			runtime.LockOSThread()
			for i := uint(0); ; i++ {
			}
		}()
	}
	connections := h
	switch s.Track {
	case "none":
		connections = nil
	case "listener":
		connections = nil
		h.Listens(tcpFD)
		h.Listens(unixFD) // instead
	case "all":
		for fd := range 1000 {
			h.Track(fd)
		}
	}
	for _, fd := range []uintptr{unixFD, tcpFD} {
		l, err := net.FileListener(os.NewFile(fd, "listener"))
		if err != nil {
			return err
		}
		go serve(connections, l)
	}
	if before := map[string]func() error{"children": runChildren, "load": runLoad}[s.Do]; before != nil {
		if err := before(); err != nil {
			r.Failed = err.Error()
		}
	}
	reports := json.NewEncoder(os.NewFile(reportFD, "report"))
	if err := reports.Encode(r); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	if err := end(s.On, h); err != nil {
		r.Failed = err.Error()
	}
	if err := reports.Encode(r); err != nil {
		return err
	}
	runtime.KeepAlive(ballast)
	select {}
}

// touch maps resident memory.
func touch(mb int) ([]byte, error) {
	if mb == 0 {
		return nil, nil
	}
	return unix.Mmap(-1, 0, mb<<20, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
}

// serve echoes lines on every connection and has the heir know of it.
func serve(h *Heir, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			fd := -1
			if raw, err := c.(syscall.Conn).SyscallConn(); err == nil {
				_ = raw.Control(func(f uintptr) { fd = int(f) })
			}
			h.Track(fd)
			in := bufio.NewReader(c)
			for {
				line, err := in.ReadSlice('\n')
				if err != nil {
					break
				}
				if _, err := c.Write(line); err != nil {
					break
				}
			}
			h.Untrack(fd)
			c.Close()
		}()
	}
}

// end is what the worker does when its stdin has ended.
func end(how string, h *Heir) error {
	switch how {
	case "":
		os.Exit(0)
	case "exit":
		os.Exit(7)
	case "core":
		// The Go runtime handles SIGQUIT; the default action dumps core.
		var byDefault [32]byte
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGQUIT),
			uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0); errno != 0 {
			return errno
		}
		return unix.Kill(unix.Getpid(), unix.SIGQUIT)
	case "execve":
		if err := h.Stop(); err != nil {
			return err
		}
		return unix.Exec("/bin/sleep", []string{"sleep", "1000"}, nil)
	case "close":
		for _, fd := range h.fds {
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
	case "replace":
		readable, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		for _, fd := range h.fds {
			if err := unix.Dup3(readable, fd, unix.O_CLOEXEC); err != nil {
				return err
			}
		}
	}
	return nil
}

// runChildren starts programs the way a worker may.
func runChildren() error {
	for i := range 50 {
		want := fmt.Sprintln("child", i)
		got, err := exec.Command("/bin/echo", "child", fmt.Sprint(i)).Output()
		if err != nil {
			return err
		}
		if string(got) != want {
			return errors.New("child said " + string(got))
		}
	}
	return nil
}
