package sentinel

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Codes of a siginfo for SIGCHLD, from asm-generic/siginfo.h.
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// Status is how a process ended.
type Status struct {
	// Exited: it called exit, with Code. Else Signal killed it.
	Exited     bool
	Code       int
	Signal     unix.Signal
	CoreDumped bool
	Rusage     unix.Rusage
}

// String says it for people: "exited with code 3", "killed by SIGKILL".
func (s Status) String() string {
	name := unix.SignalName(s.Signal)
	if name == "" {
		name = fmt.Sprintf("signal %d", int(s.Signal))
	}
	switch {
	case s.Exited:
		return fmt.Sprintf("exited with code %d", s.Code)
	case s.Signal == 0:
		return "ended in an unknown way"
	case s.CoreDumped:
		return fmt.Sprintf("killed by %s (core dumped)", name)
	}
	return "killed by " + name
}

// UserTime is the processor time that its own code took.
func (s Status) UserTime() time.Duration { return time.Duration(s.Rusage.Utime.Nano()) }

// SystemTime is the time that the kernel spent on its behalf.
func (s Status) SystemTime() time.Duration { return time.Duration(s.Rusage.Stime.Nano()) }

// MaxRSS is the largest resident size, in KiB (getrusage(2)).
func (s Status) MaxRSS() int64 { return s.Rusage.Maxrss }

// siginfoChild is the part of siginfo_t that waitid fills in, on 64-bit Linux.
type siginfoChild struct {
	signo, errno, code, _ int32
	pid                   int32
	uid                   uint32
	status                int32
	_                     [100]byte
}

// Reap takes the status of a child that has exited, by waitid(P_PIDFD). It
// does not wait: EAGAIN says that the child is alive, ECHILD that it is none
// of ours or was reaped already.
func Reap(pidfd int) (Status, error) {
	var info siginfoChild
	var st Status
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_PIDFD, uintptr(pidfd),
			uintptr(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG|unix.WALL,
			uintptr(unsafe.Pointer(&st.Rusage)), 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return Status{}, fmt.Errorf("sentinel: waitid: %w", errno)
		}
		break
	}
	if info.pid == 0 {
		return Status{}, fmt.Errorf("sentinel: waitid: %w: process is alive", unix.EAGAIN)
	}
	switch info.code {
	case cldExited:
		st.Exited, st.Code = true, int(info.status)
	case cldKilled, cldDumped:
		st.Signal, st.CoreDumped = unix.Signal(info.status), info.code == cldDumped
	}
	return st, nil
}
