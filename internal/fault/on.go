//go:build faults

package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Enabled says whether this binary can be made to fail.
const Enabled = true

// reached are the labels that this process has noted in the folder's reached.
var reached sync.Map

// At is where a call with this label is made: it returns the errno with which
// the call shall fail, 0 for none.
func At(l Label) unix.Errno {
	dir := os.Getenv(Variable)
	if dir == "" {
		return 0
	}
	if _, before := reached.LoadOrStore(dir+string(l), true); !before {
		_ = os.WriteFile(filepath.Join(dir, reachedDir, string(l)), nil, 0o600)
	}
	path := filepath.Join(dir, string(l))
	b, err := os.ReadFile(path)
	if err != nil || os.Remove(path) != nil { // of two who read it one takes it
		return 0
	}
	n, err := strconv.Atoi(string(b))
	if err != nil {
		panic(fmt.Sprintf("fault %s: %v", path, err))
	}
	return unix.Errno(n)
}

const reachedDir = "reached"

// Faults are those of the processes that share a folder.
type Faults struct{ Dir string }

// In makes a folder ready for faults.
func In(dir string) (Faults, error) {
	return Faults{dir}, os.MkdirAll(filepath.Join(dir, reachedDir), 0o700)
}

// Arm has the next call with a label fail: with errno, or with what is usual
// for it where errno is 0.
func (f Faults) Arm(l Label, errno unix.Errno) error {
	for i := range labels {
		if labels[i].label == l && errno == 0 {
			errno = labels[i].errno
		}
	}
	if errno == 0 {
		return fmt.Errorf("fault: nobody knows the label %q", l)
	}
	// It appears whole: a reader between two steps would take half of it.
	beside := filepath.Join(f.Dir, reachedDir, ".arming")
	if err := os.WriteFile(beside, strconv.AppendInt(nil, int64(errno), 10), 0o600); err != nil {
		return err
	}
	return os.Rename(beside, filepath.Join(f.Dir, string(l)))
}

// Fired reports whether no fault of this label is armed any more.
func (f Faults) Fired(l Label) bool {
	_, err := os.Lstat(filepath.Join(f.Dir, string(l)))
	return os.IsNotExist(err)
}

// Disarm takes a fault back.
func (f Faults) Disarm(l Label) { _ = os.Remove(filepath.Join(f.Dir, string(l))) }

// Reached reports whether a process came by a label, armed or not.
func (f Faults) Reached(l Label) bool {
	_, err := os.Lstat(filepath.Join(f.Dir, reachedDir, string(l)))
	return err == nil
}
