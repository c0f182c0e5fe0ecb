package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

// maxSignal is SIGRTMAX (signal(7)).
const maxSignal = 64

func (c *cli) killCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:               "kill ID",
		Short:             "Send a signal to a binding's active worker, to see it fail over",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeBindings,
		RunE: func(cmd *cobra.Command, args []string) error {
			sig, err := parseSignal(name)
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), "asking", func(ctx context.Context, conn grpc.ClientConnInterface) error {
				a, err := service.NewSupervisorClient(conn).SignalWorker(ctx,
					&understudyv1.SignalWorkerRequest{ProcessId: args[0], Signal: int32(sig)})
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(a)
				}
				_, err = fmt.Fprintf(c.stdout, "sent %s to pid %d of %s\n", showSignal(sig), a.GetPid(), args[0])
				return err
			})
		},
	}
	cmd.Flags().StringVar(&name, "signal", "KILL", "name or number")
	must(cmd.RegisterFlagCompletionFunc("signal", cobra.FixedCompletions(signalNames(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// parseSignal reads "KILL", "SIGKILL", "kill" or "9".
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n >= 1 && n <= maxSignal {
		return unix.Signal(n), nil
	}
	upper := strings.ToUpper(s)
	for _, name := range []string{upper, "SIG" + upper} {
		if sig := unix.SignalNum(name); sig != 0 {
			return sig, nil
		}
	}
	return 0, fmt.Errorf("--signal: %q is no signal; give a name such as KILL or a number from 1 to %d", s, maxSignal)
}

func showSignal(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}

func signalNames() (names []string) {
	for n := 1; n <= maxSignal; n++ {
		if name := unix.SignalName(unix.Signal(n)); name != "" {
			names = append(names, strings.TrimPrefix(name, "SIG"))
		}
	}
	return names
}
