package procfs

import (
	"os"
	"strconv"
	"strings"
)

// Children are the child processes of every thread of this process, dead ones
// that nobody has reaped included. It needs a kernel with CONFIG_PROC_CHILDREN,
// as the distributions have it; without there are none.
func Children() (pids []int) {
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		b, _ := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		for field := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// All are the processes of this machine that are wanted.
func All(wanted func(pid int) bool) (pids []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && wanted(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
