// Package outage measures what a client sees of a death: the time from the kill
// to the first good answer of another process.
//
// The client asks without a pause, one request after the other, and tries again
// at once after a failure. So the time contains whatever the client has to go
// through: a request that fails, a new connection where there must be one, and
// the answer. See Moment for when the kill comes.
package outage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/monotime"
)

const (
	// settled is how many good answers in a row the victim gives before it is
	// killed, and its successor afterwards, before the client rests: enough
	// for caches and connections to be as in steady service.
	settled = 20
	// phase is how long after that the kill comes at most; evenly spread, so
	// that it meets every part of a request.
	phase = 2 * time.Millisecond
	// pace is the least time between the starts of two requests once several
	// have failed: an address that refuses is not asked 50,000 times a second.
	pace = 250 * time.Microsecond
)

// Moment is when the kill comes, as the client's requests go.
type Moment string

const (
	// During: from another thread, at no particular phase of a request. What
	// the client has to go through may begin with the failure of that request.
	During Moment = "during"
	// Between: from the client itself, which begins its next request right
	// after. It is the floor's moment too (package floor).
	Between Moment = "between"
)

// ErrLong means that no good answer came in the time given.
var ErrLong = errors.New("no good answer")

// Client asks for an answer.
type Client interface {
	// Ask makes one request and returns the pid of the process that answered.
	// It does not try again by itself, unless that is what the client is
	// about.
	Ask(ctx context.Context) (pid int, err error)
	// Close gives up what the client holds.
	Close() error
}

// Outage is what a client saw of one death.
type Outage struct {
	// Killed is when the kill began, Answered when the first good answer of
	// another process was complete: CLOCK_MONOTONIC, in nanoseconds.
	Killed, Answered int64
	// Victim and Successor are the pids before and after.
	Victim, Successor int
	// Failed counts the requests that failed, before and after too.
	Failed int
	// Cause is the first failure, nil if there was none.
	Cause error
}

// Gap is the time from the kill to the first good answer.
func (o *Outage) Gap() time.Duration { return time.Duration(o.Answered - o.Killed) }

// Measure lets the client ask until one process has answered steadily, has kill
// end it at the moment given, and goes on until another one answers steadily.
// kill does not wait for the end of the process. The whole may take as long as
// limit; then the error is ErrLong.
func Measure(ctx context.Context, c Client, m Moment, limit time.Duration, kill func(pid int) error) (*Outage, error) {
	ctx, done := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w in %v", ErrLong, limit))
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	o := &Outage{}
	var killer sync.WaitGroup
	err := o.ask(ctx, c, func(pid int) error {
		if m == Between {
			return o.kill(pid, kill)
		}
		killer.Go(func() {
			if err := o.kill(pid, kill); err != nil {
				cancel(err)
			}
		})
		return nil
	})
	killer.Wait()
	if err != nil && o.Cause != nil {
		err = fmt.Errorf("%w (the first of %d failures: %w)", err, o.Failed, o.Cause)
	}
	return o, err
}

// Undisturbed measures what the client takes when nobody dies, where Measure with
// Between would have its kill: after as many good answers and as long a pause.
// cut, if there is one, ends the client's connection first. failed counts the
// requests that failed before the good one.
func Undisturbed(ctx context.Context, c Client, limit time.Duration, cut func() error) (took time.Duration, failed int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w in %v", ErrLong, limit))
	defer cancel()
	for range settled {
		if _, err := c.Ask(ctx); ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		} else if err != nil {
			return 0, 0, err
		}
	}
	runtime.LockOSThread() // as kill does
	pause(rand.N(phase))
	begun := monotime.Now()
	if cut != nil {
		err = cut()
	}
	runtime.UnlockOSThread()
	for err == nil {
		_, err = c.Ask(ctx)
		if end := monotime.Now(); err == nil {
			return time.Duration(end - begun), failed, nil
		}
		if ctx.Err() != nil {
			return 0, failed, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		failed, err = failed+1, nil
	}
	return 0, failed, err
}

// kill ends one process, after a while. A thread of its own sleeps to the microsecond; a
// goroutine's sleep is rounded up to a millisecond.
func (o *Outage) kill(pid int, kill func(int) error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pause(rand.N(phase))
	o.Killed = monotime.Now()
	if err := kill(pid); err != nil {
		return fmt.Errorf("kill of pid %d: %w", pid, err)
	}
	return nil
}

// ask is the client's loop; it calls kill once.
func (o *Outage) ask(ctx context.Context, c Client, kill func(pid int) error) error {
	last, row, bad := 0, 0, 0 // who answered, how often in a row; failures in a row
	for {
		begun := monotime.Now()
		pid, err := c.Ask(ctx)
		end := monotime.Now()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			o.Failed++
			if o.Cause == nil {
				o.Cause = err
			}
			if row, bad = 0, bad+1; bad > 1 {
				pause(time.Duration(begun + int64(pace) - monotime.Now()))
			}
			continue
		}
		if pid != last {
			last, row = pid, 0
		}
		row, bad = row+1, 0
		switch {
		case o.Victim == 0:
			if row == settled {
				o.Victim = pid
				if err := kill(pid); err != nil {
					return err
				}
			}
		case pid == o.Victim:
		case o.Successor == 0:
			o.Answered, o.Successor = end, pid
		case row >= settled:
			return nil
		}
	}
}

// pause sleeps in the kernel, not in the Go runtime.
func pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // an early end is as good
}
