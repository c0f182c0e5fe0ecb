package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

func (c *cli) watchCommand() *cobra.Command {
	r := &understudyv1.WatchRoutesRequest{}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show routes as they change",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.stream(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				stream, err := service.NewSupervisorClient(conn).WatchRoutes(ctx, r)
				if err != nil {
					return err
				}
				for {
					u, err := stream.Recv()
					if err != nil {
						return err
					}
					if err := c.printRoutes(u); err != nil {
						return err
					}
				}
			})
		},
	}
	cmd.Flags().StringVar(&r.Pattern, "pattern", "", "only routes of this pattern")
	must(cmd.RegisterFlagCompletionFunc("pattern", c.completePatterns))
	return cmd
}

func (c *cli) printRoutes(u *understudyv1.RoutesUpdate) error {
	if c.json {
		return c.printJSON(u)
	}
	for _, r := range u.GetRoutes() {
		why := strings.ToLower(strings.TrimPrefix(r.GetReason().String(), "ROUTE_REASON_"))
		if u.GetFull() {
			why = "is"
		}
		line := fmt.Sprintf("%s  %-9s  %s  %s  epoch %s  pid %s  %s", clock(r.GetPublished()), why, r.GetProcessId(),
			strings.ToLower(strings.TrimPrefix(r.GetState().String(), "ROUTE_STATE_")), number(r.GetEpoch()), number(r.GetPid()), r.GetAddress())
		if death := r.GetDeathMonotonicNs(); death > 0 {
			line += fmt.Sprintf("  %.2f ms after the death", float64(r.GetPublishedMonotonicNs()-death)/1e6)
		}
		if _, err := fmt.Fprintln(c.stdout, line); err != nil {
			return err
		}
	}
	return nil
}
