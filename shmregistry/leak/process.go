package leak

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/procfs"
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

// tickLength is procfs.ClockTick in ns.
const tickLength = int64(time.Second) / procfs.ClockTick

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
