// Package scratch is a temporary folder of a benchmark, for programs and what
// they write. Closing it leaves nothing: no file, and no process whose program
// lies in it.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lastWait is how long Close waits for the end of the processes it killed.
const lastWait = 20 * time.Second

// Dir is the folder.
type Dir struct{ path string }

// New makes one below the system's temporary folder.
func New() (*Dir, error) {
	path, err := os.MkdirTemp("", "understudy-bench-")
	if err != nil {
		return nil, err
	}
	// Other users' processes (nginx's) may look in.
	if err := os.Chmod(path, 0o755); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	// The kernel names programs by their real paths.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	return &Dir{path: path}, nil
}

// Join returns a path in the folder.
func (d *Dir) Join(elements ...string) string {
	return filepath.Join(append([]string{d.path}, elements...)...)
}

// Make makes a folder in the folder and returns its path.
func (d *Dir) Make(elements ...string) (string, error) {
	path := d.Join(elements...)
	return path, os.MkdirAll(path, 0o755)
}

// Close kills every process whose program lies in the folder, waits for its
// end, and removes the folder. In an orderly run there is no such process, so
// its error names those it found.
func (d *Dir) Close() error {
	var found []string
	deadline := time.Now().Add(lastWait)
	// A process that is killed may have started another just before.
	for time.Now().Before(deadline) {
		pids := d.processes()
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			found = append(found, strconv.Itoa(pid))
			end(pid, time.Until(deadline))
		}
	}
	err := os.RemoveAll(d.path)
	if len(found) > 0 {
		err = errors.Join(fmt.Errorf("processes were left behind and have been killed: pid %s", strings.Join(found, ", ")), err)
	}
	return err
}

// processes returns who runs a program of the folder, even one deleted since.
func (d *Dir) processes() []int {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	var pids []int
	for _, link := range links {
		exe, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(exe, d.path+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func end(pid int, within time.Duration) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // ended by itself
	}
	defer unix.Close(fd)
	if unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return
	}
	gone := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(within); ; {
		n, err := unix.Poll(gone, int(max(0, time.Until(deadline)).Milliseconds()))
		if n > 0 || !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
