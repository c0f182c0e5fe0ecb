package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

// completeTimeout is how long a person who pressed Tab waits.
const completeTimeout = time.Second

// completeBindings offers the process ids that the daemon knows.
func (c *cli) completeBindings(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context, client service.SupervisorClient) (words []string, err error) {
		a, err := client.ListBindings(ctx, &understudyv1.ListBindingsRequest{})
		for _, b := range a.GetBindings() {
			words = append(words, b.GetProcessId())
		}
		return words, err
	})
}

// completePatterns offers the patterns that the daemon knows.
func (c *cli) completePatterns(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context, client service.SupervisorClient) (words []string, err error) {
		a, err := client.ListPools(ctx, &understudyv1.ListPoolsRequest{})
		for _, p := range a.GetPools() {
			words = append(words, p.GetPattern())
		}
		return words, err
	})
}

func (c *cli) complete(cmd *cobra.Command, ask func(context.Context, service.SupervisorClient) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	var words []string
	err := c.connected(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		words, err = ask(ctx, service.NewSupervisorClient(conn))
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
