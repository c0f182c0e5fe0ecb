package sentinel

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childModes are the lives that the test binary can lead. Each says "ready"
// on stdout, does what it is for at a line on stdin, and ends with its input.
var childModes = map[string]func(){
	"idle":         func() { say("ready"); read(); os.Exit(0) },
	"exit":         func() { say("ready"); read(); os.Exit(3) },
	"panic":        func() { say("ready"); read(); panic("on purpose") },
	"crash":        crash,
	"fault":        recoveredFaults,
	"sigterm":      handledSignals,
	"leader first": leaderFirst,
	"exec":         execFromThread,
	"busy":         busyThreads,
	"load":         loadedSentinel,
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

var input = bufio.NewReader(os.Stdin)

// read waits for a line, and ends the process at the end of input.
func read() string {
	line, err := input.ReadString('\n')
	if err != nil {
		os.Exit(0)
	}
	return line
}

// crash ends by the runtime's own SIGABRT, after a fatal fault.
func crash() {
	debug.SetTraceback("crash")
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	say("ready")
	read()
	var nowhere *int
	*nowhere = 1
}

// recoveredFaults takes a real SIGSEGV and goes on, as Go programs may.
func recoveredFaults() {
	say("ready")
	for {
		read()
		func() {
			defer func() { say("recovered %v", recover() != nil) }()
			var nowhere *int
			*nowhere = 1
		}()
	}
}

// handledSignals has a handler for SIGTERM, ignores SIGHUP, and takes those
// whose default is harmless.
func handledSignals() {
	got := make(chan os.Signal, 16)
	signal.Notify(got, unix.SIGTERM)
	signal.Ignore(unix.SIGHUP)
	say("ready")
	go func() {
		for {
			read()
			say("alive")
		}
	}()
	for s := range got {
		say("got %s", unix.SignalName(s.(unix.Signal)))
	}
}

// leaderFirst ends its first thread and lives on in the others.
func leaderFirst() {
	runtime.LockOSThread() // main runs on the first thread until here
	if unix.Gettid() != unix.Getpid() {
		say("not on the first thread")
		return
	}
	say("ready")
	read()
	go func() {
		for {
			say("alive")
			read()
		}
	}()
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// execFromThread replaces the process from a thread that is not its first.
func execFromThread() {
	runtime.LockOSThread() // main runs on the first thread until here, and keeps it
	say("ready")
	read()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- fmt.Errorf("on the first thread")
			return
		}
		env := append(os.Environ(), childMode+"=idle")
		done <- syscall.Exec("/proc/self/exe", os.Args[:1], env)
	}()
	say("%v", <-done)
}

// busyThreads has as many threads as the variable THREADS says count without
// a pause in the file that is its descriptor 3, with BALLAST MB of memory. At
// a line on stdin it makes SIGSEGV deadly, with a core dump.
func busyThreads() {
	n, _ := strconv.Atoi(os.Getenv("THREADS"))
	mb, _ := strconv.Atoi(os.Getenv("BALLAST"))
	shared, err := unix.Mmap(3, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		say("%v", err)
		return
	}
	ballast := make([]byte, mb<<20)
	for i := 0; i < len(ballast); i += 512 {
		ballast[i] = byte(i / 512)
	}
	runtime.GOMAXPROCS(n + 2)
	counters := unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&shared[0])), n)
	for i := range n {
		go func() {
			runtime.LockOSThread()
			for {
				counters[i].Add(1)
			}
		}()
	}
	for i := range counters {
		for counters[i].Load() == 0 {
			runtime.Gosched()
		}
	}
	say("ready")
	read()
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	var action [32]byte // struct sigaction, all zero: SIG_DFL
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSEGV), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	say("deadly")
	read()
	runtime.KeepAlive(ballast)
}
