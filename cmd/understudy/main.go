// Command understudy talks to understudyd: it launches, lists, watches and ends
// bindings, checks configuration and manifests, and kills workers to see what
// happens. Exit codes: 0 done, 1 failed, with one line on stderr.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"understudy/internal/paths"
	"understudy/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	// What workers say must be shown, not obeyed, by a terminal.
	err := run(ctx, os.Args[1:], printable{os.Stdout}, os.Stderr)
	stop()
	if err != nil {
		// One line, whatever the error was made of.
		fmt.Fprintln(printable{os.Stderr}, "understudy:", strings.Join(strings.Fields(err.Error()), " "))
		os.Exit(1)
	}
}

// cli is what the commands share.
type cli struct {
	stdout, stderr io.Writer
	addr           string
	timeout        time.Duration
	json           bool
}

// addrEnv names the daemon's address for those who do not want to repeat it.
const addrEnv = "UNDERSTUDY_ADDR"

// run is the program, until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := &cli{stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:           "understudy",
		Short:         "Talk to understudyd, the hot-standby supervisor",
		Version:       version.Get().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	addr := os.Getenv(addrEnv)
	if addr == "" {
		addr = "unix://" + paths.APISocket()
	}
	f := root.PersistentFlags()
	f.StringVar(&c.addr, "addr", addr, "address of understudyd, unix:///path or host:port; "+addrEnv+" sets the default")
	f.DurationVar(&c.timeout, "timeout", 30*time.Second, "how long an answer may take; 0 is for ever")
	f.BoolVar(&c.json, "json", false, "print JSON; streams print one object a line")
	root.AddCommand(c.launchCommand(), c.listCommand(), c.statusCommand(), c.terminateCommand(), c.poolsCommand(),
		c.watchCommand(), c.eventsCommand(), c.validateCommand(), c.killCommand(), c.shmCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}
