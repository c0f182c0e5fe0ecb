package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memoryGroup is a cgroup with a memory limit, of either version.
type memoryGroup struct {
	path string
	file string // the limit's
}

// slack is how many MiB more than its size a process may have before it is
// killed: the Go runtime, with the race detector too.
const slack = 64

// newMemoryGroup makes one below the root of the memory hierarchy, or says why
// not.
func newMemoryGroup() (*memoryGroup, string) {
	var why []error
	for _, h := range []struct{ root, file string }{
		{"/sys/fs/cgroup", "memory.max"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
	} {
		g := &memoryGroup{path: filepath.Join(h.root, fmt.Sprintf("understudy-bench-%d", os.Getpid())), file: h.file}
		if err := os.Mkdir(g.path, 0o755); err != nil {
			why = append(why, err)
			continue
		}
		_, err := os.Stat(filepath.Join(g.path, h.file))
		if err == nil {
			// Without swap; where there is none, there is no such file.
			_ = g.write("memory.swap.max", "0")
			return g, ""
		}
		why = append(why, fmt.Errorf("no memory controller: %w", err), os.Remove(g.path))
	}
	return nil, "no memory cgroup can be made: " + strings.ReplaceAll(errors.Join(why...).Error(), "\n", "; ")
}

// limit is for a process of mb.
func (g *memoryGroup) limit(mb int) error {
	return g.write(g.file, strconv.Itoa((mb+slack)<<20))
}

func (g *memoryGroup) add(pid int) error { return g.write("cgroup.procs", strconv.Itoa(pid)) }

func (g *memoryGroup) write(file, value string) error {
	err := os.WriteFile(filepath.Join(g.path, file), []byte(value), 0)
	if err != nil {
		return fmt.Errorf("memory cgroup: %w", err)
	}
	return nil
}

func (g *memoryGroup) close() {
	// EBUSY while the last dead task is being forgotten.
	for range 1000 {
		err := unix.Rmdir(g.path)
		if err == nil || !errors.Is(err, fs.ErrExist) && err != unix.EBUSY {
			return
		}
	}
}
