package main

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// disk is what the guest cannot do without.
var disk = []string{"virtio_pci", "virtio_blk"}

// modulesFor returns the files of the named kernel modules, each after those it
// needs. One that has no file is built in, or the kernel has none: that is left
// to whoever needs it.
func (k kernel) modulesFor(names []string) ([]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(k.modules, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(d.Name(), ".ko"); ok {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	return inOrder(names, files, needs)
}

// inOrder puts before each module those it needs.
func inOrder(names []string, files map[string]string, needs func(file string) ([]string, error)) (order []string, err error) {
	seen := map[string]bool{}
	var visit func(string) error
	visit = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		file, ok := files[name]
		if seen[name] || !ok {
			return nil
		}
		seen[name] = true
		before, err := needs(file)
		if err != nil {
			return fmt.Errorf("kernel module %s: %w", name, err)
		}
		for _, n := range before {
			if err := visit(n); err != nil {
				return err
			}
		}
		order = append(order, file)
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// needs reads from a module's .modinfo which others must be loaded before it:
// the package carries no modules.dep, depmod(8) would make it at installation.
func needs(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s has no .modinfo", file)
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if v, ok := strings.CutPrefix(field, "depends="); ok {
			return slices.DeleteFunc(strings.Split(v, ","), func(s string) bool { return s == "" }), nil
		}
	}
	return nil, nil
}
