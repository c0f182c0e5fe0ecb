package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

func (c *cli) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the bindings",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.call(cmd.Context(), "listing", func(ctx context.Context, conn grpc.ClientConnInterface) error {
				a, err := service.NewSupervisorClient(conn).ListBindings(ctx, &understudyv1.ListBindingsRequest{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(a)
				}
				return c.printBindings(a.GetBindings(), time.Now())
			})
		},
	}
}

func (c *cli) printBindings(bindings []*understudyv1.Binding, now time.Time) error {
	var rows [][]string
	for _, b := range bindings {
		up := "-"
		if b.GetPid() != 0 {
			up = since(b.GetActivated(), now)
		}
		rows = append(rows, []string{b.GetPattern(), b.GetProcessId(), b.GetState(), yesNo(b.GetHealthy()), up,
			number(b.GetPid()), number(b.GetEpoch()), b.GetAddress()})
	}
	return table(c.stdout, "PATTERN|PROCESS ID|STATE|HEALTHY|UPTIME|PID|EPOCH|ADDRESS", rows)
}
