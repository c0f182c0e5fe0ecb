// Package command is what the benchmarks' commands have in common: how they
// end, the flags that several of them have, where their results go, and that
// one row of a plan that fails does not disturb the others.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Main runs a command until its end or the first signal. An error is printed,
// and the status is 1 then.
func Main(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	signals := []os.Signal{os.Interrupt, unix.SIGTERM}
	if !signal.Ignored(unix.SIGHUP) { // by nohup
		signals = append(signals, unix.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
