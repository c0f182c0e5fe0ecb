package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
)

// missingError says what this machine lacks, and what would give it.
type missingError struct{ what, remedy string }

func (e *missingError) Error() string { return e.what + "; " + e.remedy }

const emulator = "qemu-system-x86_64"

// emulate is the way out where KVM is not to be had.
const emulate = "; `make test-vm VM_ACCEL=tcg` emulates the processor instead"

// findMachine reports what a virtual machine would lack.
func findMachine(accel string) error {
	if runtime.GOARCH != "amd64" {
		return &missingError{"a kernel for " + runtime.GOARCH + " is not known here", "use an amd64 machine"}
	}
	if _, err := exec.LookPath(emulator); err != nil {
		return &missingError{"no " + emulator, "`sudo apt-get install --no-install-recommends qemu-system-x86` installs it"}
	}
	if accel != kvm {
		return nil
	}
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &missingError{"/dev/kvm may not be opened", "`sudo usermod -aG kvm $USER` and a new login allow it" + emulate}
	case err != nil:
		return &missingError{fmt.Sprintf("no /dev/kvm (%v)", err), "`sudo modprobe kvm_intel` or kvm_amd loads it where the processor, or the host of this machine, allows virtual machines" + emulate}
	}
	return device.Close()
}

// brokenKVM is a KVM that does not run an ordinary kernel: some hosts lend one
// made in software, for kernels that know of it.
func brokenKVM(what string) error {
	return &missingError{"KVM of this machine does not run the kernel: " + what, "a machine with hardware virtualisation does" + emulate}
}
