package leak

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// worker is one watched process.
type worker struct {
	pid     int
	mode    Mode
	start   uint64       // clock ticks since boot, proc(5) stat field 22; 0: it was gone already
	before  map[int]bool // System V segments that said this pid when the watch began
	objects map[*object]bool
}

// started returns when the worker started by the wall clock of now, or zero.
func (w *worker) started() time.Time {
	now := bootTime()
	if w.start == 0 || now == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(int64(w.start)*tickLength - int64(now)))
}

// origin is what /proc says about where a process comes from.
type origin struct {
	parent, group int
	start         uint64 // clock ticks since boot
	ended         bool   // a zombie, or less
}

// clockTick is USER_HZ, which is 100 on every architecture Go runs on
// (sysconf(3) _SC_CLK_TCK).
const clockTick = 100

// tickLength in ns.
const tickLength = int64(time.Second) / clockTick

func originOf(pid int) (origin, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return origin{}, err
	}
	// The command's name may hold anything, even brackets: begin behind the last.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return origin{}, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(f))
	}
	o := origin{ended: f[0][0] == 'Z' || f[0][0] == 'X'}
	if o.parent, err = strconv.Atoi(string(f[1])); err != nil {
		return o, fmt.Errorf("/proc/%d/stat: parent: %w", pid, err)
	}
	if o.group, err = strconv.Atoi(string(f[2])); err != nil {
		return o, fmt.Errorf("/proc/%d/stat: group: %w", pid, err)
	}
	if o.start, err = strconv.ParseUint(string(f[19]), 10, 64); err != nil {
		return o, fmt.Errorf("/proc/%d/stat: start: %w", pid, err)
	}
	return o, nil
}

// alive reports whether the process that started at that tick still runs.
func alive(pid int, start uint64) bool {
	from, err := originOf(pid)
	return err == nil && !from.ended && from.start == start
}

// inode is an object as /proc/<pid>/maps names it. On tmpfs and mqueue its
// device is that of stat(2) (seen on Linux 6.18; it is not so on btrfs and
// overlayfs).
type inode struct{ dev, ino uint64 }

// holds returns which of the wanted objects the process has open or mapped.
// What cannot be read is passed over.
func holds(pid int, wanted map[inode]*object) map[*object]bool {
	found := map[*object]bool{}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	if entries, err := os.ReadDir(dir); err == nil {
		for _, e := range entries {
			var st unix.Stat_t
			if unix.Stat(dir+"/"+e.Name(), &st) != nil {
				continue
			}
			if o := wanted[inode{st.Dev, st.Ino}]; o != nil {
				found[o] = true
			}
		}
	}
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return found
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		if i, ok := mapped(lines.Text()); ok {
			if o := wanted[i]; o != nil {
				found[o] = true
			}
		}
	}
	return found
}

// mapped reads device and inode of one line of maps: address, permissions,
// offset, major:minor (hexadecimal), inode, path.
func mapped(line string) (inode, bool) {
	f := strings.Fields(line)
	if len(f) < 6 {
		return inode{}, false // anonymous
	}
	major, minor, ok := strings.Cut(f[3], ":")
	if !ok {
		return inode{}, false
	}
	ma, err1 := strconv.ParseUint(major, 16, 32)
	mi, err2 := strconv.ParseUint(minor, 16, 32)
	ino, err3 := strconv.ParseUint(f[4], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return inode{}, false
	}
	return inode{unix.Mkdev(uint32(ma), uint32(mi)), ino}, true
}
