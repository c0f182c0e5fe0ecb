package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"understudy/bench/vm/plan"
)

// machine is a virtual machine that runs once.
type machine struct {
	accel                   string
	kernel, initramfs, disk string
	memory, cpus            int
}

const kvm = "kvm"

// accelerators are the ways to run the guest's instructions, by the flag's word.
var accelerators = map[string][]string{
	kvm: {"-machine", "q35,accel=kvm", "-cpu", "host"},
	// In software: it runs everywhere, some ten times slower.
	"tcg": {"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"},
}

// bootLimit bounds the time until the guest's first word, which comes after
// some two seconds, emulated or not.
const bootLimit = time.Minute

var errSilent = fmt.Errorf("the guest has not said a word after %v", bootLimit)

// boot runs the machine until it turns itself off, and copies its console.
func (m machine) boot(ctx context.Context, limit time.Duration, console io.Writer) error {
	if err := os.WriteFile(m.disk, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(m.disk, plan.DiskSize); err != nil { // only what is written takes room
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the guest still ran after %v", limit))
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	silent := time.AfterFunc(bootLimit, func() { end(m.notBooted(errSilent)) })
	defer silent.Stop()

	cmd := exec.CommandContext(ctx, emulator, m.arguments()...)
	var stderr bytes.Buffer
	cmd.Stdout = io.MultiWriter(console, &watch{text: plan.Up, then: func() { silent.Stop() }})
	// QEMU stops such a machine for good, and stays.
	const stuck = "KVM internal error"
	cmd.Stderr = io.MultiWriter(&stderr, &watch{text: stuck, then: func() { end(m.notBooted(errors.New(stuck))) }})
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return errors.Join(fmt.Errorf("%s: %w", emulator, err), errors.New(stderr.String()))
	}
	return nil
}

func (m machine) notBooted(err error) error {
	if m.accel == kvm {
		return brokenKVM(err.Error())
	}
	return err
}

func (m machine) arguments() []string {
	return append(slices.Clone(accelerators[m.accel]),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-smp", strconv.Itoa(m.cpus), "-m", strconv.Itoa(m.memory),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-drive", "if=none,id=disk,format=raw,file="+m.disk, "-device", "virtio-blk-pci,drive=disk",
		"-kernel", m.kernel, "-initrd", m.initramfs,
		// A panic resets, and -no-reboot makes an end of it. What the kernel
		// has to say goes to the console only where it is grave: that console
		// is slow, and a benchmark would wait for it.
		"-append", "console=ttyS0 panic=-1 loglevel=3")
}

// watch calls then when it first sees a text in what is written.
type watch struct {
	text string
	then func()
	tail []byte // what may be the text's beginning
	seen bool
}

func (w *watch) Write(b []byte) (int, error) {
	if w.seen {
		return len(b), nil
	}
	w.tail = append(w.tail, b...)
	if w.seen = bytes.Contains(w.tail, []byte(w.text)); w.seen {
		w.tail = nil
		w.then()
		return len(b), nil
	}
	w.tail = w.tail[max(0, len(w.tail)-len(w.text)):]
	return len(b), nil
}
