package isolation

import (
	"os"
	"path/filepath"
)

// keepDir holds a second name of each unix endpoint, below EndpointDir. A socket
// cannot be bound twice, but a file that has a name left can get another: so a
// name that a cleaner took away comes back, with the same socket behind it.
const keepDir = ".keep"

// kept is the second name.
func (e *endpoint) kept() string {
	return filepath.Join(filepath.Dir(e.address), keepDir, filepath.Base(e.address))
}

// keepName makes the second name. Without it the endpoint is made anew when its
// name is lost.
func (e *endpoint) keepName() {
	kept := e.kept()
	_ = os.Mkdir(filepath.Dir(kept), 0o700)
	_ = os.Remove(kept)
	_ = os.Link(e.address, kept)
}

// rename gives the socket its name back, in the place of whatever has it. It
// reports whether it could.
func (e *endpoint) rename() bool {
	if inode, err := inodeOf(e.kept()); err != nil || inode != e.inode {
		return false
	}
	next := e.kept() + ".new"
	_ = os.Remove(next)
	return os.Link(e.kept(), next) == nil && os.Rename(next, e.address) == nil
}

// forgetNames removes the second names of endpoints of an earlier supervisor.
func forgetNames(runtimeDir string) {
	_ = os.RemoveAll(filepath.Join(runtimeDir, EndpointDir, keepDir))
}
