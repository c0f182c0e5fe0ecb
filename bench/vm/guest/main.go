// Command guest is the first process of a virtual machine that bench/vm boots.
// It mounts what a Linux system has, runs the plan's commands one after the
// other, writes what they left to the disk, and turns the machine off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/vm/plan"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: it mounts, kills and turns off: it runs as the first process of a virtual machine only")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Println("guest:", err)
	}
	unix.Sync()
	// Whatever happened, the machine must not stay. What returns here panics
	// the kernel, which ends it as well.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	rawConsole()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	fmt.Println(plan.Up, unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]))
	b, err := os.ReadFile(plan.File)
	if err != nil {
		return err
	}
	var p plan.Plan
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("%s: %w", plan.File, err)
	}
	if err := errors.Join(mountAll(), limits(), loopback(), enableControllers(), load(p.Modules), installShell()); err != nil {
		return err
	}
	var results []plan.Result
	for _, c := range p.Commands {
		fmt.Printf("--- begin %s\n", c.Name)
		r, err := execute(c)
		if err != nil {
			r = plan.Result{Name: c.Name, Status: err.Error()}
		}
		fmt.Printf("--- end %s: %s, %v\n", r.Name, r.Status, r.Duration.Round(time.Millisecond))
		results = append(results, r)
	}
	if b, err = json.MarshalIndent(results, "", "  "); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(plan.Out, plan.Results), append(b, '\n'), 0o644); err != nil {
		return err
	}
	return bringBack()
}
