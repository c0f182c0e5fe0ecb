package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"understudy/internal/segmentinfo"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
	"understudy/shmregistry"
)

func (c *cli) shmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shm",
		Short: "Show shared-memory segments, and clear those that nobody needs",
	}
	cmd.AddCommand(c.shmListCommand(), c.shmSweepCommand())
	return cmd
}

func (c *cli) shmListCommand() *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use:               "list [ID]",
		Short:             "Show the segments of one binding, or of all",
		Long:              "Show the segments of one binding, or of all. With --state-dir they are read from\nthe registry's file, whether or not a daemon runs.",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeBindings,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &understudyv1.ListSegmentsRequest{}
			if len(args) > 0 {
				r.ProcessId = args[0]
			}
			if stateDir != "" {
				return c.listRegistry(stateDir, r.GetProcessId())
			}
			return c.call(cmd.Context(), "listing", func(ctx context.Context, conn grpc.ClientConnInterface) error {
				a, err := service.NewSupervisorClient(conn).ListSegments(ctx, r)
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(a)
				}
				return c.printSegments(a.GetSegments())
			})
		},
	}
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "the daemon's state directory, to read the registry without the daemon")
	return cmd
}

// listRegistry shows what the registry's file says.
func (c *cli) listRegistry(stateDir, processID string) error {
	entries, err := shmregistry.ReadFile(filepath.Join(stateDir, shmregistry.FileName))
	if err != nil {
		return err
	}
	if processID != "" {
		entries = slices.DeleteFunc(entries, func(e shmregistry.Entry) bool { return e.Binding != processID })
	}
	segments := segmentinfo.Messages(entries)
	if c.json {
		return c.printJSON(&understudyv1.ListSegmentsResponse{Segments: segments})
	}
	return c.printSegments(segments)
}

func (c *cli) shmSweepCommand() *cobra.Command {
	r := &understudyv1.SweepSegmentsRequest{}
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Remove segments of ours that have neither a living owner nor a binding",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.call(cmd.Context(), "sweeping", func(ctx context.Context, conn grpc.ClientConnInterface) error {
				a, err := service.NewSupervisorClient(conn).SweepSegments(ctx, r)
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(a)
				}
				if err := c.printSegments(a.GetSegments()); err != nil {
					return err
				}
				did := "removed"
				if r.GetDryRun() {
					did = "would be removed"
				}
				fmt.Fprintf(c.stdout, "%d segments %s\n", len(a.GetSegments()), did)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "only say what would be removed")
	return cmd
}

func (c *cli) printSegments(segments []*understudyv1.SegmentInfo) error {
	now := time.Now()
	var rows [][]string
	for _, s := range segments {
		rows = append(rows, []string{s.GetProcessId(), s.GetName(), bytesOf(s.GetSize()), s.GetOnDeath(), s.GetState(),
			number(s.GetEpoch()), number(s.GetOwnerPid()), since(s.GetCreated(), now), s.GetPath()})
	}
	return table(c.stdout, "PROCESS ID|SEGMENT|SIZE|ON DEATH|STATE|EPOCH|OWNER|AGE|PATH", rows)
}

// held says how many objects of shared memory there are, "" for none.
func held(n int, size uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d, %s", n, bytesOf(size))
}

// bytesOf shows a size in the largest unit that leaves it a number of 1 or more.
func bytesOf(n uint64) string {
	for _, u := range []struct {
		name  string
		shift int
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n>>u.shift > 0 {
			return fmt.Sprintf("%.4g%s", float64(n)/float64(uint64(1)<<u.shift), u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}
