// Command understudyd is the supervisor: flags, configuration file, signals
// and exit codes. The supervisor itself is package supervisor.
//
// It prints one line on stdout when it is ready to serve, and logs to stderr.
// SIGTERM and SIGINT stop it with every worker; a second one ends it at once
// and leaves the workers. SIGHUP is logged and does nothing else. Exit codes: 0 stopped, 1 failed, 2 not understood
// (flags, configuration).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"understudy/internal/pace"
	"understudy/internal/version"
	"understudy/supervisor"
)

func main() {
	// Descriptors that our parent left open, such as the lock of a script, must not
	// reach our children. Before Linux 5.11 it stays as it is.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	context.AfterFunc(ctx, stop) // the next signal ends the process
	// A reader of our log that goes away must not take us with it. Notify, not
	// Ignore: what is ignored stays so in the workers.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	// From the first moment: a terminal that closes, or a habit of logrotate,
	// must not end us and leave the workers to themselves.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout, hangups)
	if err != nil {
		fmt.Fprintln(os.Stderr, "understudyd:", err)
	}
	os.Exit(exitCode(err))
}

// usageError marks what a person has to correct before trying again.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	}
	return 1
}

// run is the program, until ctx ends. SIGHUPs come by hangups.
func run(ctx context.Context, args []string, stdout io.Writer, hangups <-chan os.Signal) error {
	cmd := command(stdout, hangups)
	cmd.SetArgs(args)
	return cmd.ExecuteContext(ctx)
}

func command(stdout io.Writer, hangups <-chan os.Signal) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "understudyd",
		Short: "Hot-standby supervisor: keeps a warm spare for every worker, and the same address answering",
		Long: `understudyd keeps warm spare processes for each pattern, binds each isolation
key to one active process, and has a spare answering on the same address when
that process dies.

Settings come from --config FILE and from flags; flags win.`,
		Example:           "  understudyd --patterns-dir patterns\n  understudyd --config /etc/understudy/understudy.yaml",
		Version:           version.Get().String(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown argument %q; see understudyd --help", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.config(cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			log, flush, err := newLogger(os.Stderr, o.logLevel)
			if err != nil {
				return usageError{err}
			}
			defer flush()
			if cfg.Pace.On(pace.ChildSignal) {
				if err := defaultChildSignal(); err != nil { // it costs some time at each death, no more
					log.Warn("each death of a child wakes the daemon", "error", err)
				}
			}
			s, err := supervisor.New(cfg, log)
			if err != nil {
				return usageError{err}
			}
			ended := make(chan struct{})
			defer close(ended)
			go logHangups(log, hangups, ended)
			build := version.Get()
			log.Info("understudyd starts", "version", build.Version, "revision", build.Revision, "runtime_dir", cfg.RuntimeDir, "patterns_dir", cfg.PatternsDir)
			return supervise(cmd.Context(), s, stdout)
		},
	}
	cmd.SetOut(stdout)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	o.register(cmd.Flags())
	cmd.AddCommand(sentinelCommand())
	return cmd
}

// supervise runs s and says when it is ready: on stdout, and to the service
// manager that started us, if one did (sd_notify(3)).
func supervise(ctx context.Context, s *supervisor.Supervisor, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-s.Ready():
	}
	a := s.Addrs()
	_, err := fmt.Fprintf(stdout, "understudyd ready grpc=%s unix=%s metrics=%s health=%s\n", orOff(a.GRPC), a.Unix, orOff(a.Metrics), orOff(a.Health))
	if errors.Is(err, unix.EPIPE) {
		cancel()
		return errors.Join(fmt.Errorf("nobody reads that it is ready: %w", err), <-ended)
	}
	told := make(chan struct{})
	go func() { tellServiceManager(ctx, s); close(told) }()
	err = <-ended
	cancel()
	<-told
	return err
}

// logHangups tells of each SIGHUP, as nothing else happens at one.
func logHangups(log *slog.Logger, hangups <-chan os.Signal, ended <-chan struct{}) {
	for {
		select {
		case <-hangups:
			log.Info("SIGHUP does nothing here: the configuration is read at the start alone")
		case <-ended:
			return
		}
	}
}

func orOff(addr string) string {
	if addr == "" {
		return "off"
	}
	return addr
}
