// Package gomonitor has the monitor of the Go scheduler (runtime.sysmon) look
// less often.
//
// The monitor is a thread of every Go process. As long as a goroutine runs, it
// wakes every 20 µs, and up to every 10 ms if it has found nothing to do for a
// while: it takes the P from goroutines that have been in a system call for
// some time, and has those that run for 10 ms give way. On a machine with few
// cores these looks are a tenth of what a process does in the first millisecond
// after it woke.
package gomonitor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Slack has the monitor of this process wake up to d later than it asks for, from
// its next sleep on, and returns how much that was before. The error is the
// system's, such as EPERM: it needs CAP_SYS_NICE.
//
// The monitor sleeps in the kernel between two looks, and timers of a thread may
// be late by its timer slack (proc_pid_timerslack_ns(5)), which is set here. It
// is the first thread that the runtime starts, before any package is
// initialised, and the kernel lists threads in the order of their birth. (Where
// C code is linked whose constructors start threads, one of those is meant by
// mistake; hence the old value, to be put back.)
func Slack(d time.Duration) (was time.Duration, err error) {
	thread, err := secondThread()
	if err != nil {
		return 0, err
	}
	path := "/proc/" + thread + "/timerslack_ns"
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return time.Duration(ns), os.WriteFile(path, strconv.AppendInt(nil, int64(d), 10), 0)
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
