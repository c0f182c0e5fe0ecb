package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// fetchLimit bounds the fetching and unpacking of a package; a kernel's has
// some 30 to 70 MB.
const fetchLimit = 5 * time.Minute

// debian unpacks packages of Debian's archive into a cache. Nothing is
// installed.
type debian struct{ cache string }

// unpacked returns the directory that holds a package's files: from the cache,
// or unpacked from the file deb, or where that is "" fetched. check says
// whether what it should hold is there.
func (d debian) unpacked(ctx context.Context, name, deb string, check func(root string) error) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	if deb != "" {
		name = strings.TrimSuffix(filepath.Base(deb), ".deb")
	}
	dir := filepath.Join(d.cache, name)
	if check(dir) == nil {
		return dir, nil
	}
	if err := os.MkdirAll(d.cache, 0o755); err != nil {
		return "", fmt.Errorf("package %s: %w", name, err)
	}
	// Unpacked beside its place, so that half a package is never found there.
	work, err := os.MkdirTemp(d.cache, "new-")
	if err != nil {
		return "", fmt.Errorf("package %s: %w", name, err)
	}
	defer os.RemoveAll(work)
	if deb == "" {
		if deb, err = fetch(ctx, work, name); err != nil {
			return "", err
		}
	}
	root := filepath.Join(work, "root")
	if _, err := output(ctx, "", "dpkg-deb", "-x", deb, root); err != nil {
		return "", fmt.Errorf("package %s: %w", name, err)
	}
	if err := check(root); err != nil {
		return "", fmt.Errorf("package %s: %w", name, err)
	}
	if err := os.Rename(root, dir); err != nil {
		return "", fmt.Errorf("package %s: %w", name, err)
	}
	return dir, nil
}

var depends = regexp.MustCompile(`(?m)^\s*(?:Pre)?Depends: (linux-image-[0-9]\S*)$`)

// fetch downloads the package, or the kernel that it depends on, which needs no
// root.
func fetch(ctx context.Context, dir, name string) (string, error) {
	missing := func(err error) error {
		return &missingError{
			fmt.Sprintf("package %s cannot be fetched (%v)", name, err),
			"`sudo apt-get update` on a Debian system lets apt find it; -deb takes a kernel's file (make test-vm VM_FLAGS='-deb linux-image-….deb')",
		}
	}
	out, err := output(ctx, "", "apt-cache", "depends", name)
	if err != nil {
		return "", missing(err)
	}
	if m := depends.FindStringSubmatch(out); m != nil {
		name = m[1]
	}
	if _, err := output(ctx, dir, "apt-get", "download", name); err != nil {
		return "", missing(err)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", missing(errors.Join(fmt.Errorf("apt-get left %d packages", len(debs)), err))
	}
	return debs[0], nil
}

// output runs a program and returns what it printed.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return "", fmt.Errorf("%s: %w", name, err)
}
