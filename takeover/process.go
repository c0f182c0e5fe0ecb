package takeover

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"understudy/internal/fdpass"
	"understudy/internal/pace"
	"understudy/sentinel"
)

// Command is the subcommand under which a binary that hosts the engine must
// call Main: "understudyd sentinel".
const Command = "sentinel"

const socketFD = 3

// socketBuffer is asked for both directions: room for the events of some
// thousand deaths at once.
const socketBuffer = 4 << 20

// Options says how the engine runs.
type Options struct {
	// Exe is the binary whose subcommand Command calls Main. Empty: the engine
	// runs on a thread of this process, where a busy scheduler can delay it.
	Exe string
	// Realtime asks for SCHED_FIFO.
	Realtime bool
	// Source forces a death source by name; "" or "auto" takes the best.
	Source string
	// Asked is called, by who sends it, after a command that the engine answers
	// at once. It may be nil.
	Asked func()
	// Pace turns off what keeps the first milliseconds after a death clear.
	Pace pace.Switches
}

func (o Options) sentinel() (sentinel.Options, error) {
	source, err := sentinel.ParseSource(o.Source)
	if err != nil {
		return sentinel.Options{}, err
	}
	return sentinel.Options{Source: source, Realtime: o.Realtime, LockMemory: o.Exe != "", Pace: o.Pace}, nil
}

// Start starts an engine. handle gets its events one at a time, from a
// goroutine of the client.
func Start(opts Options, handle func(Event)) (*Client, error) {
	sopts, err := opts.sentinel()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("takeover: socketpair: %w", err)
	}
	for _, fd := range pair {
		for _, o := range []int{unix.SO_SNDBUF, unix.SO_SNDBUFFORCE} { // the second needs CAP_NET_ADMIN
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o, socketBuffer)
		}
	}
	_ = fdpass.Refuse(pair[0]) // an event has none
	ours := os.NewFile(uintptr(pair[0]), "takeover")
	if opts.Exe == "" {
		return newClient(ours, startThread(pair[1], sopts), opts.Asked, handle)
	}
	theirs := os.NewFile(uintptr(pair[1]), "takeover")
	defer theirs.Close()
	cmd := exec.Command(opts.Exe, Command,
		"--realtime="+strconv.FormatBool(opts.Realtime), "--source="+opts.Source)
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	// Two Ps: one for the sentinel's thread, one for the runtime's own work. A
	// collection would have the sentinel's real-time thread wait for threads
	// without that priority, tens of milliseconds on a busy machine, so there
	// is none until very many failovers have filled the limit.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2", "GOGC=off", "GOMEMLIMIT=256MiB",
		pace.Variable+"="+opts.Pace.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("takeover: start %s %s: %w", opts.Exe, Command, err)
	}
	return newClient(ours, process{cmd}, opts.Asked, handle)
}

// Main is the body of the subcommand Command: it serves the socket that Start
// passed, and returns when the supervisor is gone.
func Main(realtime bool, source string) error {
	// A terminal's interrupt is for the supervisor; we end when it does.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	// Started by a link, it would be shown by the link's name.
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	opts, err := Options{Exe: "self", Realtime: realtime, Source: source, Pace: pace.FromEnvironment()}.sentinel()
	if err != nil {
		return err
	}
	if _, err := unix.GetsockoptInt(socketFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return errors.New("sentinel: started by hand; understudyd starts it with its socket")
	}
	unix.CloseOnExec(socketFD)
	return serve(socketFD, opts, pace.Breather, func() sentinel.Feature { return stillMonitor(opts.Pace) })
}

type process struct{ cmd *exec.Cmd }

func (p process) wait() error { return p.cmd.Wait() }
func (p process) pid() int    { return p.cmd.Process.Pid }
func (p process) kill()       { _ = p.cmd.Process.Kill() }

type thread struct{ ended chan error }

func startThread(socket int, opts sentinel.Options) thread {
	t := thread{ended: make(chan error, 1)}
	go func() { t.ended <- Serve(socket, opts) }()
	return t
}

func (t thread) wait() error { return <-t.ended }
func (t thread) pid() int    { return os.Getpid() }
func (t thread) kill()       {} // a thread cannot be killed alone
