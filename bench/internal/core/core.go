// Package core lets processes of a benchmark dump core, and removes what they
// leave.
package core

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Allow has processes that are started from now on dump core, however large. It
// says why not, or "".
func Allow() string {
	b, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		return err.Error()
	}
	if p := strings.TrimSpace(string(b)); strings.ContainsAny(p, "/|") {
		return fmt.Sprintf("cores go to %q; `sysctl kernel.core_pattern=core` has them written where they can be removed", p)
	}
	no := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	if no != nil {
		return fmt.Sprintf("core size limit: %v; try `ulimit -c unlimited`", no)
	}
	return ""
}

// Remove removes the core that a dead process of mb MiB left in dir and checks
// that it was whole.
func Remove(dir string, mb int) error {
	cores, err := filepath.Glob(filepath.Join(dir, "core*"))
	if err != nil {
		return err
	}
	var written int64
	for _, c := range cores {
		if info, err := os.Stat(c); err == nil {
			written += info.Size()
		}
		if err := os.Remove(c); err != nil {
			return err
		}
	}
	if written == 0 || written < int64(mb)<<20 {
		return fmt.Errorf("the process of %d MB left a core of %d MB", mb, written>>20)
	}
	return nil
}
