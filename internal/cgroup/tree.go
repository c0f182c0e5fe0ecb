package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
)

// Tree is the groups of one supervisor.
type Tree struct{ dir string }

// Open makes the folder for the groups of an instance, or takes the one that
// an earlier life of the instance left. Errors: ErrNotSupported, fs.ErrPermission,
// and what mkdir(2) returns, such as EROFS in a container.
func Open(instance string) (*Tree, error) {
	parent, err := own()
	if err != nil {
		return nil, err
	}
	return open(parent, instance)
}

// Sweep removes the trees of instances whose name begins with prefix, as far as
// no process is left in them. A group in which one lives stays.
func Sweep(prefix string) {
	parent, err := own()
	if err != nil {
		return
	}
	sweep(parent, prefix)
}

func sweep(parent, prefix string) {
	trees, _ := filepath.Glob(filepath.Join(parent, "understudy-"+prefix+"*"))
	for _, tree := range trees {
		groups, _ := (&Tree{dir: tree}).Groups()
		for _, g := range groups {
			_ = g.remove() // EBUSY where a process is left
		}
		_ = os.Remove(tree)
	}
}

func open(parent, instance string) (*Tree, error) {
	// To clone a process into a group takes the right to write this file in the
	// nearest common ancestor, which is the parent.
	if err := unix.Access(filepath.Join(parent, "cgroup.procs"), unix.W_OK); err != nil {
		return nil, fmt.Errorf("cgroup %s is not ours to divide: %w", parent, err)
	}
	dir := filepath.Join(parent, "understudy-"+instance)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	t := &Tree{dir: dir}
	if err := t.check(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Tree) check() error {
	kind, err := os.ReadFile(filepath.Join(t.dir, "cgroup.type"))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	case strings.TrimSpace(string(kind)) != "domain":
		return fmt.Errorf("%w: group %s is %s, not a domain", ErrNotSupported, t.dir, strings.TrimSpace(string(kind)))
	}
	if _, err := os.Stat(filepath.Join(t.dir, "cgroup.kill")); err != nil { // since Linux 5.14
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return nil
}

// Dir is the folder of the tree.
func (t *Tree) Dir() string { return t.dir }

// prefix begins the name of a worker's group.
const prefix = "w-"

// Make makes the group of worker n.
func (t *Tree) Make(n uint64) (*Group, error) {
	g := &Group{dir: filepath.Join(t.dir, fmt.Sprint(prefix, n))}
	err := fault.Error(fault.CgroupMake)
	if err == nil {
		err = os.Mkdir(g.dir, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return g, nil
}

// Groups returns the groups of workers that there are, those of an earlier life
// of the instance included.
func (t *Tree) Groups() ([]*Group, error) {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	var groups []*Group
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), prefix) {
			groups = append(groups, &Group{dir: filepath.Join(t.dir, e.Name())})
		}
	}
	return groups, nil
}

// Close removes the tree's folder. Error: EBUSY where a group is left in it.
func (t *Tree) Close() error {
	if err := os.Remove(t.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}
