// Command dsp is the real-time audio pattern: it processes blocks of 5.33 ms in shared memory, and its standby goes on
// in the middle of the music, at the block where it died.
//
// Its host finds the segments by name (understudy shm list) and hands blocks over as package blocks says. On the
// binding's endpoint it serves gRPC health.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"understudy/patterns/dsp/blocks"
	"understudy/patterns/dsp/engine"
	"understudy/patterns/dsp/realtime"
	"understudy/patterns/internal/ballast"
	"understudy/worker"
	"understudy/worker/grpcworker"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "dsp:", err)
		os.Exit(1)
	}
}

// dsp is the worker beside its audio thread.
type dsp struct {
	ballast ballast.Ballast
	engine  *engine.Engine
	// over ends the process when the audio thread has ended.
	over context.CancelCauseFunc
}

func run(ctx context.Context) error {
	realtime.MakeRoom()
	if err := realtime.DieAtOnce(); err != nil {
		return err
	}
	ctx, over := context.WithCancelCause(ctx)
	defer over(nil)
	d := &dsp{over: over}
	err := grpcworker.Run(ctx, grpcworker.Options{Warm: d.warm, Register: func(*grpc.Server) {}, Probe: d.probe, Activate: d.activate})
	if cause := context.Cause(ctx); cause != nil && !engine.Replaced(cause) {
		return errors.Join(err, cause)
	}
	return err
}

func (d *dsp) warm(ctx context.Context, config map[string]string) error {
	inRealTime := true
	if v, ok := config["realtime"]; ok {
		var err error
		if inRealTime, err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("config realtime: %q is not a bool", v)
		}
	}
	if err := d.ballast.RaiseTo(config); err != nil {
		return err
	}
	d.engine = engine.Start(ctx, inRealTime, slog.Default())
	return nil
}

// standstill is how long blocks may wait before the worker counts as hung: 187 of them, which is no load but a fault.
const standstill = time.Second

// probe asks for an answer on the endpoint, and whether the music goes on.
func (d *dsp) probe(ctx context.Context, cc grpc.ClientConnInterface) error {
	if _, err := healthv1.NewHealthClient(cc).Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
		return err
	}
	return d.engine.Check(standstill)
}

// activate starts the music. It goes on until the process ends, even while the worker drains: its successor, if there
// is one, takes the segments away from it.
func (d *dsp) activate(_ context.Context, a *worker.Assignment) error {
	shared, err := blocks.Of(a.Segments)
	if err != nil {
		return err
	}
	d.engine.Run(shared, a.Epoch, func(err error) {
		slog.Warn("audio has ended", "process_id", a.ProcessID, "epoch", a.Epoch, "error", err)
		d.over(fmt.Errorf("audio of %s: %w", a.ProcessID, err))
	})
	return nil
}
