package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

func (c *cli) poolsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pools",
		Short: "Show the spares of every pattern",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.call(cmd.Context(), "listing", func(ctx context.Context, conn grpc.ClientConnInterface) error {
				a, err := service.NewSupervisorClient(conn).ListPools(ctx, &understudyv1.ListPoolsRequest{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(a)
				}
				return c.printPools(a.GetPools())
			})
		},
	}
}

func (c *cli) printPools(pools []*understudyv1.Pool) error {
	var rows [][]string
	for _, p := range pools {
		trouble := p.GetLastError()
		if p.GetBackoffMs() > 0 {
			trouble = fmt.Sprintf("next start in %v: %s", time.Duration(p.GetBackoffMs())*time.Millisecond, trouble)
		}
		rows = append(rows, []string{p.GetPattern(), fmt.Sprintf("%d..%d", p.GetSparesMin(), p.GetSparesMax()),
			fmt.Sprint(p.GetStandby()), fmt.Sprint(p.GetStarting()), fmt.Sprint(p.GetActive()), fmt.Sprint(p.GetDraining()),
			fmt.Sprint(p.GetStartedTotal()), fmt.Sprint(p.GetStartFailuresTotal()), trouble})
	}
	return table(c.stdout, "PATTERN|SPARES|STANDBY|STARTING|ACTIVE|DRAINING|STARTED|FAILED|LAST ERROR", rows)
}
