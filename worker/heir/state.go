//go:build linux && (amd64 || arm64)

package heir

import (
	"errors"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trackable is how many descriptors can be tracked: 0 to trackable-1. A
// higher one is closed with all the others when the worker is dead, but not
// shut down before that. Scanning the whole map takes under a microsecond.
const trackable = 1 << 16

// nameLen is room for an address of a unix or internet socket.
const nameLen = 112

// state is all that the worker and its heir have in common. It lives in
// memory of its own, outside the Go heap. The assembly finds the fields by
// the names the compiler puts into go_asm.h.
type state struct {
	fence, worker pollFD         // what the heir waits for; adjacent, one array to ppoll
	timeout       unix.Timespec  // between two cuts
	idle          unix.SchedAttr // asked for before the memory is freed
	name          [16]byte       // comm of the heir
	ready         uint32         // futex: 1 when the heir is set up
	pidfd         int32          // of the heir, set by clone
	accepting     uint32         // SO_ACCEPTCONN of the socket looked at
	acceptingLen  uint32
	listenerLen   atomic.Uint32 // 0: no listener is known
	socknameLen   uint32
	rush          int32         // connections still to be cut in real time
	priority      int32         // 0, what an ordinary task has of the real-time ones
	listener      [nameLen]byte // address of the listener, as getsockname(2) has it
	sockname      [nameLen]byte // of the descriptor looked at
	all           uint64        // signal mask: every signal
	mask          uint64        // signal mask of the cloning thread, to be restored
	tracked       [trackable / 64]atomic.Uint64
}

// pollFD is struct pollfd of poll(2).
type pollFD struct {
	fd      int32
	events  int16
	revents int16
}

// Numbers that the assembly takes from here by way of go_asm.h. A search may
// end early since a connection that was just accepted has the lowest number
// that was free: gaps below it are few.
const (
	sysClone       = unix.SYS_CLONE
	sysCloseRange  = unix.SYS_CLOSE_RANGE
	sysExitGroup   = unix.SYS_EXIT_GROUP
	sysFutex       = unix.SYS_FUTEX
	sysGetsockname = unix.SYS_GETSOCKNAME
	sysGetsockopt  = unix.SYS_GETSOCKOPT
	sysPpoll       = unix.SYS_PPOLL
	sysPrctl       = unix.SYS_PRCTL
	sysSchedSet    = unix.SYS_SCHED_SETATTR
	sysScheduler   = unix.SYS_SCHED_SETSCHEDULER
	sysSetpgid     = unix.SYS_SETPGID
	sysShutdown    = unix.SYS_SHUTDOWN
	sysSigprocmask = unix.SYS_RT_SIGPROCMASK
	sysUnshare     = unix.SYS_UNSHARE
	cloneVM        = unix.CLONE_VM
	ebadf          = int(unix.EBADF)
	eintr          = int(unix.EINTR)
	einval         = int(unix.EINVAL)
	futexWait      = 0x80 // FUTEX_WAIT_PRIVATE
	futexWake      = 0x81 // FUTEX_WAKE_PRIVATE
	pollIn         = unix.POLLIN
	prSetName      = unix.PR_SET_NAME
	shutRDWR       = unix.SHUT_RDWR
	schedNormal    = unix.SCHED_NORMAL
	sigSetmask     = 2 // SIG_SETMASK
	soAcceptConn   = unix.SO_ACCEPTCONN
	solSocket      = unix.SOL_SOCKET
	firstPause     = 250_000    // ns after the fence's cut; doubled with every further one
	lastPause      = 64_000_000 // until this
	farEnough      = 32         // a search ends after so many descriptors in a row that are not open
	closePause     = 2_500_000  // ns before all other descriptors are closed
	freePause      = 10_000_000 // ns after that before the memory is freed
)

// newState maps a guard page, one page of stack and the state, in this order.
func newState() (*state, error) {
	page := unix.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 2*page+int(unsafe.Sizeof(state{})), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, err
	}
	if err := unix.Mprotect(mem[:page], unix.PROT_NONE); err != nil {
		return nil, errors.Join(err, unix.Munmap(mem))
	}
	// Swapped out it would work too, only later: a refusal is no error.
	_ = unix.Mlock(mem[page:])
	return (*state)(unsafe.Pointer(&mem[2*page])), nil
}

// awaitReady returns whether the heir was set up within the time.
func (s *state) awaitReady(within time.Duration) bool {
	deadline := time.Now().Add(within)
	for atomic.LoadUint32(&s.ready) == 0 {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		timeout := unix.NsecToTimespec(left.Nanoseconds())
		// Woken, interrupted, too late or already set: the loop tells.
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&s.ready)), futexWait, 0,
			uintptr(unsafe.Pointer(&timeout)), 0, 0)
	}
	return true
}
