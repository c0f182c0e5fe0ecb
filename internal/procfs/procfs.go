// Package procfs reads what /proc says about a process (proc(5)).
package procfs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ClockTick is USER_HZ, the unit of Stat.Start: 100 a second on every
// architecture that Go runs on (sysconf(3) _SC_CLK_TCK).
const ClockTick = 100

// Stat is a part of /proc/PID/stat.
type Stat struct {
	// State is the letter of proc_pid_stat(5): R, S, D, T, Z, X and others.
	State                  byte
	Parent, Group, Session int
	// Start is when the process began, in ClockTicks since the boot. With the
	// pid it names a process for as long as the machine is up.
	Start uint64
}

// Ended reports whether the process is a zombie, or less.
func (s Stat) Ended() bool { return s.State == 'Z' || s.State == 'X' }

// ReadStat reads the state of a process. Error: os.ErrNotExist where there is
// none of that pid.
func ReadStat(pid int) (Stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, err
	}
	return parseStat(pid, b)
}

// parseStat counts the fields from the last parenthesis on: the name, the
// second field, may hold anything.
func parseStat(pid int, b []byte) (s Stat, err error) {
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	const state, parent, group, session, start = 0, 1, 2, 3, 19 // field 3 of the page is the first here
	if len(f) <= start {
		return Stat{}, fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(f))
	}
	s.State = f[state][0]
	for _, field := range []struct {
		at int
		to *int
	}{{parent, &s.Parent}, {group, &s.Group}, {session, &s.Session}} {
		if *field.to, err = strconv.Atoi(string(f[field.at])); err != nil {
			return Stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	if s.Start, err = strconv.ParseUint(string(f[start]), 10, 64); err != nil {
		return Stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return s, nil
}

// Alive reports whether the process that began at start still runs. A zombie
// does not.
func Alive(pid int, start uint64) bool {
	s, err := ReadStat(pid)
	return err == nil && s.Start == start && !s.Ended()
}

// BootID names this boot of the kernel.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// maxThreads bounds how many threads of a process Activity looks at.
const maxThreads = 64

// Activity says what the threads of a process do. runnable: one of them runs,
// waits for nothing but a processor, or waits for a page of its memory. ran is
// for how long they have been on processors, in nanoseconds: between two looks
// it is the same if none of them has run.
func Activity(pid int) (ran uint64, runnable bool) {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, false
	}
	defer dir.Close()
	threads, _ := dir.Readdirnames(maxThreads)
	for _, tid := range threads {
		task := fmt.Sprintf("/proc/%d/task/%s/", pid, tid)
		if b, err := os.ReadFile(task + "stat"); err == nil {
			if s, err := parseStat(pid, b); err == nil && (s.State == 'R' || s.State == 'D') {
				runnable = true
			}
		}
		if b, err := os.ReadFile(task + "schedstat"); err == nil {
			if f := bytes.Fields(b); len(f) > 0 {
				n, _ := strconv.ParseUint(string(f[0]), 10, 64)
				ran += n
			}
		}
	}
	return ran, runnable
}
