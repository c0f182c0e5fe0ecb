package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

func (c *cli) launchCommand() *cobra.Command {
	r := &launcher.LaunchRequest{}
	var level string
	var grace time.Duration
	var wait bool
	cmd := &cobra.Command{
		Use:               "launch PATTERN",
		Short:             "Bind a key to an active worker",
		Example:           "  understudy launch echo --namespace tenant-a --config warmup_ms=200",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completePatterns,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.PatternName = args[0]
			if r.Isolation, err = parseLevel(level); err != nil {
				return err
			}
			if r.GracePeriodSecs, err = wholeSeconds("grace", grace); err != nil {
				return err
			}
			return c.call(cmd.Context(), "launching "+args[0], func(ctx context.Context, conn grpc.ClientConnInterface) error {
				a, err := launcher.NewPatternLauncherClient(conn).LaunchPattern(ctx, r)
				switch {
				case err != nil:
					return err
				case a.GetError() != "":
					return errors.New(a.GetError())
				}
				behind := c.standbyBehind(ctx, conn, a.GetProcessId(), wait)
				if wait && behind != nil {
					return behind
				}
				if c.json {
					return c.printJSON(a)
				}
				if _, err = fmt.Fprintf(c.stdout, "%s answers at %s\n", a.GetProcessId(), a.GetAddress()); err == nil && behind != nil {
					fmt.Fprintln(c.stderr, behind)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Namespace, "namespace", "", "the tenant")
	f.StringVar(&r.SessionId, "session", "", "the session")
	f.StringVar(&level, "isolation", "", "none, namespace or session; default: the manifest's")
	f.StringToStringVar(&r.Config, "config", nil, "setting for the worker, KEY=VALUE; may be repeated")
	f.DurationVar(&grace, "grace", 0, "how long the worker may take to stop, whole seconds; 0: the manifest's")
	f.BoolVar(&wait, "wait-standby", false, "wait until a standby could take over from the worker, for as long as --timeout")
	must(cmd.RegisterFlagCompletionFunc("isolation", cobra.FixedCompletions([]string{"none", "namespace", "session"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// standbyPoll is between two looks for a standby.
const standbyPoll = 50 * time.Millisecond

// standbyBehind says where no standby could take over from a binding's worker
// yet. With wait it waits for one until ctx ends. What cannot be found out is
// nothing to tell of.
func (c *cli) standbyBehind(ctx context.Context, conn grpc.ClientConnInterface, processID string, wait bool) error {
	client := service.NewSupervisorClient(conn)
	for {
		b, err := client.GetBinding(ctx, &understudyv1.GetBindingRequest{ProcessId: processID})
		switch {
		case err == nil && b.GetStandby():
			return nil
		case err != nil && !wait:
			return nil
		case !wait:
			return fmt.Errorf("no standby is behind %s yet; its next failover would wait for a start (see --wait-standby)", processID)
		case err != nil && ctx.Err() == nil:
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s answers, but no standby is behind it yet: %w", processID, ctx.Err())
		case <-time.After(standbyPoll):
		}
	}
}

func parseLevel(s string) (launcher.IsolationLevel, error) {
	switch s {
	case "":
		return launcher.IsolationLevel_ISOLATION_LEVEL_UNSPECIFIED, nil
	case "none":
		return launcher.IsolationLevel_ISOLATION_NONE, nil
	case "namespace":
		return launcher.IsolationLevel_ISOLATION_NAMESPACE, nil
	case "session":
		return launcher.IsolationLevel_ISOLATION_SESSION, nil
	}
	return 0, fmt.Errorf("--isolation: %q is none of none, namespace, session", s)
}

// wholeSeconds is a duration as the launcher's wire has it.
func wholeSeconds(flag string, d time.Duration) (int64, error) {
	if d%time.Second != 0 {
		return 0, fmt.Errorf("--%s: %v is not a whole number of seconds", flag, d)
	}
	return int64(math.Round(d.Seconds())), nil
}

// must is for what only a mistake in this program can make fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
