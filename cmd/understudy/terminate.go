package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"understudy/proto/prism/launcher"
)

func (c *cli) terminateCommand() *cobra.Command {
	r := &launcher.TerminateRequest{}
	var grace time.Duration
	cmd := &cobra.Command{
		Use:               "terminate ID",
		Short:             "End a binding and its worker",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeBindings,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.ProcessId = args[0]
			if r.GracePeriodSecs, err = wholeSeconds("grace", grace); err != nil {
				return err
			}
			return c.call(cmd.Context(), "terminating "+args[0], func(ctx context.Context, conn grpc.ClientConnInterface) error {
				a, err := launcher.NewPatternLauncherClient(conn).TerminatePattern(ctx, r)
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(a)
				}
				_, err = fmt.Fprintln(c.stdout, args[0], "is terminated")
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&r.Force, "force", false, "kill at once")
	cmd.Flags().DurationVar(&grace, "grace", 0, "how long the worker may take to stop, whole seconds; 0: as launched")
	return cmd
}
