package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"understudy/internal/control"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/worker/heir"
)

// Protocol is the version of the control protocol that this package speaks.
const Protocol = 1

// Run is the life of a worker. It returns nil when the worker is not wanted
// any more: retired, drained after SIGTERM or the end of ctx, or a standby
// whose supervisor is gone. main then ends, with status 0. After an error,
// which the supervisor knows, main should end with status 1.
//
// Errors are ErrNotSupervised, what Warm or Serve returned, or a misuse of the
// environment or the protocol by the supervisor.
func Run(ctx context.Context, p Pattern) error {
	if p.Serve == nil {
		return errors.New("worker: Pattern.Serve is not set")
	}
	term := make(chan os.Signal, 2)
	signal.Notify(term, unix.SIGTERM)
	defer signal.Stop(term)
	// A supervisor that is gone reads our output no more. To write to it must
	// not end us (os/signal, "SIGPIPE"). Notify, not Ignore: what is ignored
	// stays so in the programs that we start.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	env, err := readEnvironment()
	if err != nil {
		return err
	}
	conn, err := control.NewConn(env.control)
	if err != nil {
		env.close()
		return fmt.Errorf("UNDERSTUDY_CONTROL_FD: %w", err)
	}
	log := slog.With("pattern", env.pattern, "worker", env.worker, "pid", os.Getpid())
	h := startHeir(env.fence, log)
	env.close()
	l := &life{pattern: p, config: env.config, heir: h, log: log, pace: env.pace, link: newLink(conn, log, env.pace)}
	defer l.link.close()
	if err := l.run(ctx, term); err != nil {
		l.active.settle()
		l.link.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Fatal{
			Fatal: &understudyv1.Fatal{Error: valid(err.Error())}}})
		return err
	}
	return nil
}

// startHeir returns nil if there can be none: the worker serves all the same,
// only its death shows later. Without a fence the supervisor wants none.
func startHeir(fence *os.File, log *slog.Logger) *heir.Heir {
	if fence == nil {
		return nil
	}
	h, err := heir.Start(fence)
	switch {
	case errors.Is(err, heir.ErrNotSupported):
		log.Info("worker has no heir", "error", err)
	case err != nil:
		log.Warn("worker has no heir", "error", err)
	}
	return h
}

func (l *life) run(ctx context.Context, term <-chan os.Signal) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l.begin(inner)
	in, asked := l.link.in, ctx.Done()
	for !l.finished {
		var err error
		select {
		case m, open := <-in:
			if !open {
				in = nil
				l.supervisorLeft()
				break
			}
			err = l.receive(m)
		case err = <-l.warmed:
			err = l.warm(err)
		case err = <-l.served:
			err = l.ended(err)
		case r := <-l.probes.results:
			l.answer(r)
			l.probes.finished()
		case <-l.overdue:
			err = fmt.Errorf("serve %s: not finished after a grace period of %v", l.assignment.ProcessID, l.assignment.Grace())
		case <-l.noSuccessor:
			l.log.Warn("supervisor sends no successor; draining without", "process_id", l.assignment.ProcessID, "epoch", l.assignment.Epoch)
			l.drain(0)
		case <-term:
			l.terminate("SIGTERM")
		case <-asked:
			asked = nil
			l.terminate(context.Cause(ctx).Error())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
