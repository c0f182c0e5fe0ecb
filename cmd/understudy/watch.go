package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	understudyv1 "understudy/proto/understudy/v1"
)

func (c *cli) watchCommand() *cobra.Command {
	r := &understudyv1.WatchRoutesRequest{}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show routes as they change",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.stream(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				stream, err := understudyv1.NewSupervisorClient(conn).WatchRoutes(ctx, r)
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

func (c *cli) eventsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "events",
		Short: "Show what happens, as it happens",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.stream(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				stream, err := understudyv1.NewSupervisorClient(conn).WatchEvents(ctx, &understudyv1.WatchEventsRequest{})
				if err != nil {
					return err
				}
				for {
					e, err := stream.Recv()
					if err != nil {
						return err
					}
					if err := c.printEvent(e); err != nil {
						return err
					}
				}
			})
		},
	}
}

func (c *cli) printEvent(e *understudyv1.Event) error {
	if c.json {
		return c.printJSON(e)
	}
	words := []string{clock(e.GetTime()), fmt.Sprintf("%-14s", e.GetKind())}
	for _, w := range []string{e.GetProcessId(), e.GetWorker()} {
		if w != "" {
			words = append(words, w)
		}
	}
	if e.GetPid() != 0 {
		words = append(words, fmt.Sprint("pid ", e.GetPid()))
	}
	words = append(words, strings.Join(strings.Fields(e.GetMessage()), " "))
	for _, k := range slices.Sorted(maps.Keys(e.GetFacts())) {
		words = append(words, k+"="+e.GetFacts()[k])
	}
	if n := e.GetDroppedBefore(); n > 0 {
		words = append(words, fmt.Sprintf("(%d events before this one were lost)", n))
	}
	_, err := fmt.Fprintln(c.stdout, strings.Join(words, "  "))
	return err
}
