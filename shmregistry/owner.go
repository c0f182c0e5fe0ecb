package shmregistry

import (
	"fmt"

	"understudy/internal/procfs"
)

// Owner names one process for good: a process id alone is used again by others.
type Owner struct {
	PID    int    `json:"pid"`
	Start  uint64 `json:"start"` // procfs.Stat.Start
	BootID string `json:"boot_id"`
}

// OwnerOf names the process that has pid now.
func OwnerOf(pid int) (Owner, error) {
	stat, err := procfs.ReadStat(pid)
	if err != nil {
		return Owner{}, fmt.Errorf("naming process %d: %w", pid, err)
	}
	boot, err := procfs.BootID()
	if err != nil {
		return Owner{}, fmt.Errorf("naming process %d: %w", pid, err)
	}
	return Owner{PID: pid, Start: stat.Start, BootID: boot}, nil
}

// Alive says whether the process still runs. A zombie does not: it has nothing
// open any more.
func (o Owner) Alive() bool {
	if o.PID <= 0 || !procfs.Alive(o.PID, o.Start) {
		return false
	}
	boot, err := procfs.BootID()
	return err == nil && boot == o.BootID
}
