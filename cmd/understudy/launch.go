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
)

func (c *cli) launchCommand() *cobra.Command {
	r := &launcher.LaunchRequest{}
	var level string
	var grace time.Duration
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
				case c.json:
					return c.printJSON(a)
				}
				_, err = fmt.Fprintf(c.stdout, "%s answers at %s\n", a.GetProcessId(), a.GetAddress())
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
	must(cmd.RegisterFlagCompletionFunc("isolation", cobra.FixedCompletions([]string{"none", "namespace", "session"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
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
