package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// kernel is an unpacked kernel package.
type kernel struct {
	image   string // what qemu boots
	modules string // directory of the modules
}

func (o *options) findKernel(ctx context.Context, d debian) (kernel, error) {
	root, err := d.unpacked(ctx, o.kernel, o.deb, func(root string) error {
		_, err := kernelIn(root)
		return err
	})
	if err != nil {
		return kernel{}, err
	}
	return kernelIn(root)
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

// findShell returns the file of a static busybox, "" if none is wanted.
func (o *options) findShell(ctx context.Context, d debian) (string, error) {
	if o.shell == "" {
		return "", nil
	}
	const file = "bin/busybox"
	root, err := d.unpacked(ctx, o.shell, "", func(root string) error {
		_, err := os.Stat(filepath.Join(root, file))
		return err
	})
	return filepath.Join(root, file), err
}
