package takeover

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"understudy/internal/pace"
	"understudy/sentinel"
)

// monitorSlack is how much later than it asks for the Go scheduler's monitor
// wakes: for as good as never.
const monitorSlack = time.Hour

// stillMonitor has the monitor of the Go scheduler (runtime.sysmon) sleep. It
// takes the P from a goroutine that has been in a system call for some time,
// which the sentinel's thread always has when a death wakes it: then that
// thread has to find another P, wakes the monitor before it sends the
// activation, and in 1 to 4 of 60 deaths was handed from thread to thread for 0.1
// to 0.3 ms. What else the monitor does is for processes with more than one
// thing to do.
//
// The monitor sleeps in the kernel between two looks, and timers of a thread
// may be late by its timer slack (proc_pid_timerslack_ns(5)), which is set
// here. It is the first thread that the runtime starts, before any package is
// initialised, and the kernel lists threads in the order of their birth.
//
// A thread takes the slack of the one that starts it, and a process that of the
// thread that forks it, for life (PR_SET_TIMERSLACK(2const)). The monitor may
// start one before it sleeps; so this is for a process that waits by no timer of
// a thread (a timerfd is none) and starts no other.
func stillMonitor(switches pace.Switches) sentinel.Feature {
	f := sentinel.Feature{Name: "scheduler's monitor", InUse: "awake"}
	if !switches.On(pace.MonitorSleep) {
		f.Why = "turned off"
		return f
	}
	thread, err := secondThread()
	if err == nil {
		err = os.WriteFile("/proc/"+thread+"/timerslack_ns", strconv.AppendInt(nil, int64(monitorSlack), 10), 0)
	}
	if err != nil {
		f.Why = err.Error()
		if errors.Is(err, os.ErrPermission) {
			f.Why = fmt.Sprintf("%v; needs CAP_SYS_NICE", err)
		}
		return f
	}
	f.InUse, f.Best = "asleep", true
	return f
}

// secondThread returns the id of this process's second thread.
func secondThread() (string, error) {
	d, err := os.Open("/proc/self/task")
	if err != nil {
		return "", err
	}
	defer d.Close()
	threads, err := d.Readdirnames(-1) // as the kernel lists them; ReadDir would sort
	if err == nil && len(threads) < 2 {
		err = errors.New("the process has one thread")
	}
	if err != nil {
		return "", fmt.Errorf("/proc/self/task: %w", err)
	}
	return threads[1], nil
}
