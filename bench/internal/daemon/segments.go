package daemon

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
)

// Segments returns the paths of a binding's segments by name.
func (d *Daemon) Segments(ctx context.Context, processID string) (map[string]string, error) {
	r, err := d.supervisor.ListSegments(ctx, &understudyv1.ListSegmentsRequest{ProcessId: processID})
	if err != nil {
		return nil, fmt.Errorf("segments of %s: %w", processID, err)
	}
	paths := map[string]string{}
	for _, s := range r.Segments {
		paths[s.Name] = s.Path
	}
	return paths, nil
}

// Signal sends the active worker of a binding a signal and returns its pid.
func (d *Daemon) Signal(ctx context.Context, processID string, sig unix.Signal) (pid int, err error) {
	r, err := d.supervisor.SignalWorker(ctx, &understudyv1.SignalWorkerRequest{ProcessId: processID, Signal: int32(sig)})
	if err != nil {
		return 0, fmt.Errorf("%s to the worker of %s: %w", unix.SignalName(sig), processID, err)
	}
	return int(r.Pid), nil
}

// Terminate ends a binding.
func (d *Daemon) Terminate(ctx context.Context, processID string) error {
	r, err := d.launcher.TerminatePattern(ctx, &launcher.TerminateRequest{ProcessId: processID})
	if err == nil && !r.Success {
		err = errors.New(r.Error)
	}
	if err != nil {
		return fmt.Errorf("terminating %s: %w", processID, err)
	}
	return nil
}
