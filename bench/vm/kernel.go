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

// kernel is an unpacked kernel package.
type kernel struct {
	image   string // what qemu boots
	modules string // directory of the modules
}

// fetchLimit bounds the fetching and unpacking of a package, some 30 to 70 MB.
const fetchLimit = 5 * time.Minute

// findKernel returns the kernel from the cache, or fetches its package from
// Debian's archive and unpacks it there. Nothing is installed.
func (o *options) findKernel(ctx context.Context) (kernel, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	cache, name := o.cache, o.kernel
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return kernel{}, fmt.Errorf("kernel: %w; -cache names a directory", err)
		}
		cache = filepath.Join(user, "understudy", "vm")
	}
	if o.deb != "" {
		name = strings.TrimSuffix(filepath.Base(o.deb), ".deb")
	}
	dir := filepath.Join(cache, name)
	if k, err := kernelIn(dir); err == nil {
		return k, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return kernel{}, fmt.Errorf("kernel: %w", err)
	}
	// Unpacked beside its place, so that half a kernel is never found there.
	work, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return kernel{}, fmt.Errorf("kernel: %w", err)
	}
	defer os.RemoveAll(work)
	deb := o.deb
	if deb == "" {
		if deb, err = fetch(ctx, work, name); err != nil {
			return kernel{}, err
		}
	}
	root := filepath.Join(work, "root")
	if _, err := output(ctx, "", "dpkg-deb", "-x", deb, root); err != nil {
		return kernel{}, fmt.Errorf("kernel: %w", err)
	}
	if _, err := kernelIn(root); err != nil {
		return kernel{}, fmt.Errorf("kernel: %s: %w", deb, err)
	}
	if err := os.Rename(root, dir); err != nil {
		return kernel{}, fmt.Errorf("kernel: %w", err)
	}
	return kernelIn(dir)
}

// kernelIn finds the kernel in an unpacked package.
func kernelIn(root string) (kernel, error) {
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return kernel{}, errors.Join(fmt.Errorf("%d kernels where one should be", len(images)), err)
	}
	version := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	for _, lib := range []string{"lib", "usr/lib"} {
		modules := filepath.Join(root, lib, "modules", version)
		if _, err = os.Stat(modules); err == nil {
			return kernel{images[0], modules}, nil
		}
	}
	return kernel{}, err
}

var depends = regexp.MustCompile(`(?m)^\s*(?:Pre)?Depends: (linux-image-[0-9]\S*)$`)

// fetch downloads the package, or the one it depends on, which needs no root.
func fetch(ctx context.Context, dir, name string) (string, error) {
	missing := func(err error) error {
		return &missingError{
			fmt.Sprintf("package %s cannot be fetched (%v)", name, err),
			"`sudo apt-get update` on a Debian system lets apt find it; -deb takes a file (make test-vm VM_FLAGS='-deb linux-image-….deb')",
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
