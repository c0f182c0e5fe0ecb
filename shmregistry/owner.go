package shmregistry

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Owner names one process for good: a process id alone is used again by others.
type Owner struct {
	PID    int    `json:"pid"`
	Start  uint64 `json:"start"` // clock ticks after boot: field 22 of /proc/PID/stat, proc_pid_stat(5)
	BootID string `json:"boot_id"`
}

// OwnerOf names the process that has pid now.
func OwnerOf(pid int) (Owner, error) {
	_, start, err := processStat(pid)
	if err != nil {
		return Owner{}, fmt.Errorf("naming process %d: %w", pid, err)
	}
	boot, err := bootID()
	if err != nil {
		return Owner{}, fmt.Errorf("naming process %d: %w", pid, err)
	}
	return Owner{PID: pid, Start: start, BootID: boot}, nil
}

// Alive says whether the process still runs. A zombie does not: it has nothing open any more.
func (o Owner) Alive() bool {
	if o.PID <= 0 {
		return false
	}
	state, start, err := processStat(o.PID)
	if err != nil || start != o.Start || state == 'Z' || state == 'X' {
		return false
	}
	boot, err := bootID()
	return err == nil && boot == o.BootID
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// processStat reads the state and the start time of a process. The name, the second field, may hold anything, so the
// fields are counted from the last parenthesis on.
func processStat(pid int) (state byte, start uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	const atState, atStart = 0, 22 - 3 // the state is field 3
	if len(fields) <= atStart {
		return 0, 0, fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(fields))
	}
	start, err = strconv.ParseUint(string(fields[atStart]), 10, 64)
	return fields[atState][0], start, err
}
