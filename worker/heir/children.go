package heir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Children returns the pids of all heirs among the children of this process,
// dead ones included. It is for a supervisor that had a worker die before it
// could tell its heir's pid: a child that is in this list and unknown is such
// an heir, to be reaped like the others. An heir that was cloned some
// microseconds ago may not have its name yet, so look again later.
//
// It needs a kernel with CONFIG_PROC_CHILDREN, as the distributions have it.
func Children() ([]int, error) {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return nil, err
	}
	if lists == nil {
		return nil, fmt.Errorf("children of this process: %w: no /proc/self/task/*/children", errors.ErrUnsupported)
	}
	var heirs []int
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if gone(err) {
			continue // that thread; its children are another's now
		}
		if err != nil {
			return nil, fmt.Errorf("children of this process: %w", err)
		}
		for _, field := range strings.Fields(string(text)) {
			comm, err := os.ReadFile("/proc/" + field + "/comm")
			if gone(err) {
				continue // reaped meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("name of child %s: %w", field, err)
			}
			if strings.TrimSuffix(string(comm), "\n") != Name {
				continue
			}
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("children of this process: %w", err)
			}
			heirs = append(heirs, pid)
		}
	}
	return heirs, nil
}

// gone returns whether a file of /proc ended before it was opened, or after.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
