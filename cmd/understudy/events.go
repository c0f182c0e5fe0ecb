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
	"understudy/proto/understudy/v1/service"
)

func (c *cli) eventsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "events",
		Short: "Show what happens, as it happens",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.stream(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				stream, err := service.NewSupervisorClient(conn).WatchEvents(ctx, &understudyv1.WatchEventsRequest{})
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
