package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

func (c *cli) statusCommand() *cobra.Command {
	var showConfig bool
	cmd := &cobra.Command{
		Use:               "status [ID]",
		Short:             "Show one binding, or how the supervisor runs",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeBindings,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), "asking", func(ctx context.Context, conn grpc.ClientConnInterface) error {
				client := service.NewSupervisorClient(conn)
				if len(args) == 0 {
					s, err := client.GetStatus(ctx, &understudyv1.GetStatusRequest{})
					switch {
					case err != nil:
						return err
					case c.json:
						return c.printJSON(s)
					}
					return c.printStatus(s)
				}
				b, err := client.GetBinding(ctx, &understudyv1.GetBindingRequest{ProcessId: args[0], ShowConfig: showConfig})
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(b)
				}
				return c.printBinding(b, time.Now())
			})
		},
	}
	cmd.Flags().BoolVar(&showConfig, "show-config", false, "show the values of the config, to who launched the binding")
	return cmd
}

func (c *cli) printBinding(b *understudyv1.Binding, now time.Time) error {
	var config []string
	for _, k := range slices.Sorted(maps.Keys(b.GetConfig())) {
		value := b.GetConfig()[k]
		if b.GetConfigHidden() {
			value = "(hidden)"
		}
		config = append(config, k+"="+value)
	}
	return facts(c.stdout, [][2]string{
		{"process id", b.GetProcessId()},
		{"pattern", b.GetPattern()},
		{"isolation", b.GetKey().GetLevel()},
		{"namespace", b.GetKey().GetNamespace()},
		{"session", b.GetKey().GetSession()},
		{"state", b.GetState()},
		{"healthy", yesNo(b.GetHealthy())},
		{"address", b.GetAddress()},
		{"epoch", number(b.GetEpoch())},
		{"worker", b.GetWorker()},
		{"pid", number(b.GetPid())},
		{"standby", yesNo(b.GetStandby())},
		{"created", since(b.GetCreated(), now) + " ago"},
		{"active for", since(b.GetActivated(), now)},
		{"restarts", fmt.Sprint(b.GetRestartCount())},
		{"errors", fmt.Sprint(b.GetErrorCount())},
		{"last error", b.GetLastError()},
		{"segments", held(int(b.GetSegments()), b.GetSegmentBytes())},
		{"own shared memory", held(int(b.GetOwnObjects()), b.GetOwnBytes())},
		{"endpoint repairs", some(b.GetEndpointRepairs())},
		{"notes", strings.Join(b.GetNotes(), "; ")},
		{"config", strings.Join(config, " ")},
	}...)
}

// some shows a count where there is something to count.
func some(n int32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func (c *cli) printStatus(s *understudyv1.SupervisorStatus) error {
	err := facts(c.stdout, [][2]string{
		{"version", s.GetVersion()},
		{"revision", s.GetRevision()},
		{"pid", number(s.GetPid())},
		{"uptime", (time.Duration(s.GetUptimeSeconds()) * time.Second).String()},
		{"bindings", fmt.Sprint(s.GetBindings())},
		{"workers", fmt.Sprint(s.GetWorkers())},
		{"standbys", fmt.Sprint(s.GetStandbys())},
		{"repairs", fmt.Sprint(s.GetReconcileRepairs())},
	}...)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout)
	if err := table(c.stdout, "LIMIT|IN USE|AT MOST|REFUSED", limitRows(s)); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout)
	var rows [][]string
	for _, f := range s.GetFeatures() {
		rows = append(rows, []string{f.GetName(), f.GetInUse(), yesNo(f.GetBest())})
	}
	if err := table(c.stdout, "FEATURE|IN USE|BEST", rows); err != nil {
		return err
	}
	if len(s.GetWarnings()) > 0 {
		fmt.Fprintln(c.stdout)
	}
	for _, w := range s.GetWarnings() {
		fmt.Fprintln(c.stdout, "warning:", w)
	}
	return nil
}

func limitRows(s *understudyv1.SupervisorStatus) (rows [][]string) {
	for _, l := range s.GetLimits() {
		most := "no limit"
		if l.GetMax() > 0 {
			most = fmt.Sprint(l.GetMax())
		}
		rows = append(rows, []string{l.GetName(), fmt.Sprint(l.GetUsed()), most, fmt.Sprint(l.GetRefused())})
	}
	return rows
}
