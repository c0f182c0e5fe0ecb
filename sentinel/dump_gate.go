package sentinel

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"understudy/internal/monotime"
)

const (
	// dumpRest is how long a core dump is held back. The machine is the next
	// worker's for so long, as it is when an heir rests before it frees memory.
	dumpRest = 10 * time.Millisecond
	// maxHeld bounds how many dumps are held back at once; more are not.
	maxHeld = 64
	// corePattern says where the kernel puts core dumps (core(5)).
	corePattern = "/proc/sys/kernel/core_pattern"
)

// dumpGate holds back the opening of a core dump's file. Once a dump runs
// nothing stops it, and the freezer would cut it short. But it asks for permission to open its
// file like everybody else, when the process's other threads have stopped, and
// fanotify(7) lets us take our time with the answer (FAN_OPEN_PERM).
//
// Whoever opens another file of that directory meanwhile is answered at once,
// a system call or two later than without. The kernel says yes for us if we
// end, and no if this process has no descriptor left for the question, which
// it hands over with an open file. All methods belong to the sentinel's thread.
type dumpGate struct {
	fd, timer int
	rest      time.Duration
	directory string     // where dumps are opened, below /proc/PID
	held      []heldDump // the longest held first; all are held equally long
	buffer    [4 << 10]byte
}

// heldDump is one process whose dump may not begin yet.
type heldDump struct {
	pid      int32
	question int32 // the descriptor that stands for it; -1 before it is asked
	until    int64
}

func openDumpGate(wanted bool, rest time.Duration) (*dumpGate, Feature) {
	f := Feature{Name: "core dumps", InUse: "not held back"}
	if !wanted {
		f.Why = "turned off"
		return nil, f
	}
	pattern, err := os.ReadFile(corePattern)
	if err != nil {
		f.Why = err.Error()
		return nil, f
	}
	directory, err := dumpDirectory(strings.TrimSuffix(string(pattern), "\n"))
	if err != nil {
		f.Why = err.Error()
		return nil, f
	}
	fd, err := openFanotify()
	if err != nil {
		f.Why = err.Error()
		return nil, f
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		f.Why = fmt.Sprintf("timerfd: %v", err)
		return nil, f
	}
	f.InUse, f.Best = fmt.Sprintf("held back for %v", rest), true
	return &dumpGate{fd: fd, timer: timer, rest: rest, directory: directory, held: make([]heldDump, 0, maxHeld)}, f
}

func openFanotify() (int, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK,
		unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fanotify: %w; needs CAP_SYS_ADMIN", err)
	}
	// A try: without FAN_ONDIR and FAN_EVENT_ON_CHILD nobody is asked anything.
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM, unix.AT_FDCWD, "/"); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("fanotify: %w; needs CONFIG_FANOTIFY_ACCESS_PERMISSIONS", err)
	}
	flush(fd)
	return fd, nil
}

// flush has nobody asked any more.
func flush(fd int) { _ = unix.FanotifyMark(fd, unix.FAN_MARK_FLUSH, 0, unix.AT_FDCWD, "/") }

// dumpDirectory is the directory of a process's core dump, below its /proc/PID,
// as core(5) has it.
func dumpDirectory(pattern string) (string, error) {
	if strings.HasPrefix(pattern, "|") || strings.HasPrefix(pattern, "@") {
		return "", fmt.Errorf("kernel.core_pattern %q passes them to a program", pattern)
	}
	directory, _ := path.Split(pattern)
	if strings.Contains(directory, "%") {
		return "", fmt.Errorf("kernel.core_pattern %q has a directory for each", pattern)
	}
	if path.IsAbs(directory) {
		return path.Join("root", directory), nil
	}
	return path.Join("cwd", directory), nil
}

// hold has the dump of process pid wait, if there will be one. One that has
// begun is let go on.
func (g *dumpGate) hold(pid int) {
	var limit unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &limit) == nil && limit.Cur == 0 {
		return
	}
	if len(g.held) == maxHeld ||
		unix.FanotifyMark(g.fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM|unix.FAN_EVENT_ON_CHILD, unix.AT_FDCWD,
			path.Join("/proc", strconv.Itoa(pid), g.directory)) != nil {
		return
	}
	g.held = append(g.held, heldDump{pid: int32(pid), question: -1, until: monotime.Now() + int64(g.rest)})
	if len(g.held) == 1 {
		g.wake()
	}
}

// wake sets the timer to when the first may begin.
func (g *dumpGate) wake() {
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(g.held[0].until)}
	_ = unix.TimerfdSettime(g.timer, unix.TFD_TIMER_ABSTIME, &at, nil)
}

// onQuestions takes who wants to open a file, and answers all but those who
// have to wait.
func (g *dumpGate) onQuestions() {
	n, err := unix.Read(g.fd, g.buffer[:])
	if err != nil {
		return // taken already, or refused in our stead
	}
	const length = int(unsafe.Sizeof(unix.FanotifyEventMetadata{})) // no more was asked for
	for b := g.buffer[:n]; len(b) >= length; b = b[length:] {
		e := (*unix.FanotifyEventMetadata)(unsafe.Pointer(&b[0]))
		if e.Fd >= 0 && !g.keep(e.Pid, e.Fd) {
			g.permit(e.Fd)
		}
	}
}

// keep leaves a question open until its process may dump.
func (g *dumpGate) keep(pid, question int32) bool {
	for i := range g.held {
		if h := &g.held[i]; h.pid == pid && h.question < 0 {
			h.question = question
			return true
		}
	}
	return false
}

func (g *dumpGate) permit(question int32) {
	answer := unix.FanotifyResponse{Fd: question, Response: unix.FAN_ALLOW}
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(g.fd), uintptr(unsafe.Pointer(&answer)), unsafe.Sizeof(answer))
	unix.Close(int(question))
}

// onTimer lets those begin whose time has come. When nobody waits any more the
// directories are left alone.
func (g *dumpGate) onTimer() {
	if _, err := unix.Read(g.timer, g.buffer[:8]); err != nil {
		return // set anew since
	}
	now, free := monotime.Now(), 0
	for ; free < len(g.held) && g.held[free].until <= now; free++ {
		if q := g.held[free].question; q >= 0 {
			g.permit(q)
		}
	}
	g.held = append(g.held[:0], g.held[free:]...)
	if len(g.held) > 0 {
		g.wake()
		return
	}
	flush(g.fd)
}

func (g *dumpGate) close() {
	unix.Close(g.fd) // permits what is asked
	unix.Close(g.timer)
	for _, h := range g.held {
		if h.question >= 0 {
			unix.Close(int(h.question))
		}
	}
}
