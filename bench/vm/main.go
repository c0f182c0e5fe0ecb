// Command vm runs tests and programs of this module under another kernel: it
// boots Debian's own in a virtual machine, whose first file system holds
// nothing but static binaries, and brings back what they wrote.
//
//	go run ./bench/vm [flags] package...
//
// Each package's tests are built and run in the guest, as root, with a cgroup
// v2 that has its controllers and nothing else running. docs/VM.md says more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"understudy/bench/internal/command"
	"understudy/bench/internal/scratch"
	"understudy/bench/vm/plan"
)

func main() {
	command.Main("vm", func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		err := run(ctx, args, stdout, stderr)
		var missing *missingError
		if errors.As(err, &missing) {
			fmt.Fprintln(stdout, "vm: skipped:", missing)
			return nil
		}
		return err
	})
}

// options are the flags.
type options struct {
	packages []string
	programs [][]string // the first word is the package of a command
	tests    []string   // arguments of the test binaries
	modules  []string
	accel    string
	kernel   string
	deb      string
	shell    string
	cache    string
	out      string
	memory   int
	cpus     int
	timeout  time.Duration
}

func (o *options) parse(args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("vm", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.accel, "accel", kvm, "kvm, or tcg to emulate the processor, which is slow and needs no /dev/kvm")
	f.StringVar(&o.kernel, "kernel", "linux-image-cloud-amd64", "Debian package of the kernel, or one that depends on it")
	f.StringVar(&o.deb, "deb", "", "file of the kernel's package, in place of -kernel's")
	f.StringVar(&o.shell, "shell", "busybox-static", "Debian package of the guest's shell and its simple commands; '' is none")
	f.StringVar(&o.cache, "cache", "", "directory to keep packages in (default below the user's cache)")
	f.StringVar(&o.out, "out", "bench/out/vm", "directory of the results")
	f.IntVar(&o.memory, "memory", 4096, "memory of the guest in MiB")
	f.IntVar(&o.cpus, "cpus", 2, "processors of the guest")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "limit of each command")
	f.Func("program", "a `command` of this module and its arguments, for example './bench/detect -n 10'; may be repeated", func(s string) error {
		if len(strings.Fields(s)) > 0 {
			o.programs = append(o.programs, strings.Fields(s))
		}
		return nil
	})
	tests := f.String("test", "-test.v", "arguments of the test binaries")
	modules := f.String("modules", "unix_diag,tcp_diag", "kernel modules to load where they exist, besides the disk's")
	if err := f.Parse(args); err != nil {
		return err
	}
	o.packages, o.tests = f.Args(), strings.Fields(*tests)
	o.modules = strings.FieldsFunc(*modules, func(r rune) bool { return r == ',' })
	if len(o.packages)+len(o.programs) == 0 {
		return errors.New("neither a package nor a -program is given; see -help")
	}
	if accelerators[o.accel] == nil {
		return fmt.Errorf("-accel %q is neither kvm nor tcg", o.accel)
	}
	if o.memory < 256 || o.cpus < 1 || o.timeout < time.Second {
		return errors.New("the guest needs 256 MiB of memory, a processor and a second of time at the least")
	}
	return nil
}

func (o *options) packagesOfDebian() (debian, error) {
	if o.cache != "" {
		return debian{o.cache}, nil
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return debian{}, fmt.Errorf("packages: %w; -cache names a directory", err)
	}
	return debian{filepath.Join(user, "understudy", "vm")}, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var o options
	if err := o.parse(args, stderr); err != nil {
		return err
	}
	if err := findMachine(o.accel); err != nil {
		return err
	}
	packages, err := o.packagesOfDebian()
	if err != nil {
		return err
	}
	k, err := o.findKernel(ctx, packages)
	if err != nil {
		return err
	}
	shell, err := o.findShell(ctx, packages)
	if err != nil {
		return err
	}
	dir, err := scratch.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()

	image, err := o.build(ctx, dir, k, shell)
	if err != nil {
		return err
	}
	m := machine{accel: o.accel, kernel: k.image, initramfs: image.path, disk: dir.Join("disk"), memory: o.memory, cpus: o.cpus}
	fmt.Fprintf(stdout, "%s, %s, %d processors, %d MiB\n", filepath.Base(k.image), o.accel, o.cpus, o.memory)
	// Past the limits of the commands only a broken guest goes on.
	const margin = 2 * time.Minute
	limit := margin + time.Duration(len(image.plan.Commands))*o.timeout
	if err := m.boot(ctx, limit, stdout); err != nil {
		return err
	}
	results, err := unpack(m.disk, o.out)
	if err != nil {
		return fmt.Errorf("the guest ended without results: %w", err)
	}
	return summarize(stdout, o.out, results)
}

// summarize prints a line for each command and the tests that did not pass.
func summarize(stdout io.Writer, out string, results []plan.Result) error {
	var failed []string
	fmt.Fprintln(stdout)
	for _, r := range results {
		log := filepath.Join(out, r.Name+".log")
		counts, lines, err := verdicts(log)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%-24s %s, %v%s; %s\n", r.Name, r.Status, r.Duration.Round(time.Millisecond), counts, log)
		for _, l := range lines {
			fmt.Fprintln(stdout, "  ", l)
		}
		if r.Strays > 0 {
			fmt.Fprintf(stdout, "   left %d processes behind\n", r.Strays)
		}
		if r.Status != plan.OK {
			failed = append(failed, r.Name)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed in the guest: %s", strings.Join(failed, ", "))
	}
	return nil
}
