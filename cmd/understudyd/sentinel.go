package main

import (
	"github.com/spf13/cobra"

	"understudy/takeover"
)

// sentinelCommand is the takeover engine's process. understudyd starts it for
// itself; nobody else should.
func sentinelCommand() *cobra.Command {
	var realtime bool
	var source string
	cmd := &cobra.Command{
		Use:    takeover.Command,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return takeover.Main(realtime, source) },
	}
	cmd.Flags().BoolVar(&realtime, "realtime", true, "ask for real-time priority")
	cmd.Flags().StringVar(&source, "source", "auto", "death source")
	return cmd
}
