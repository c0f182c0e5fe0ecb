package pool

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/loop"
)

// Whatever a worker does instead of getting ready is one clear error that
// names the step, and the worker is ended.
func TestStartsThatFail(t *testing.T) {
	for name, want := range map[string]struct {
		step Step
		says string
	}{
		"closes at once":          {StepHandshake, "control socket closed by a living worker (killed by SIGKILL)"},
		"closes after ready":      {StepProbe, "control socket closed by a living worker (killed by SIGKILL)"},
		"says nonsense":           {StepHandshake, "malformed"},
		"says what is no message": {StepHandshake, "steady"},
		"says too much":           {StepHandshake, "larger than 64 KiB (killed by SIGKILL)"},
		"ready twice":             {StepProbe, "said ready twice (killed by SIGKILL)"},
		"of another time":         {StepHandshake, "speaks control protocol 2; this supervisor speaks 1 (killed by SIGKILL)"},
		"gives up":                {StepHandshake, "worker gave up: no model (exited with code 1)"},
		"unhealthy":               {StepProbe, "probe failed: canary is dead (killed by SIGKILL)"},
		"exits":                   {StepHandshake, "ended before it was ready (exited with code 3); last output: cannot find my model"},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t, never, role(name))
			err := next(t, y.failed)
			require.Equal(t, want.step, err.Step, "%v", err)
			require.Equal(t, "a", err.Pattern)
			require.Equal(t, "a-1", err.Worker)
			require.ErrorContains(t, err, want.says)
			require.NotContains(t, err.Error(), "\n")
			s := y.stats()
			require.Equal(t, err.Error(), s.LastError)
			require.Equal(t, int64(1), s.StartFailures)
			require.Equal(t, int64(1), s.Started, "started again in its backoff")
			require.Positive(t, s.Backoff)
			require.Zero(t, s.Starting+s.Standby)
		})
	}
}

// Each word of a worker costs a line of the log: its last one is enough.
func TestAWorkerGivesUpOnce(t *testing.T) {
	var log bytes.Buffer // the handler locks
	cfg := never
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	y := newYard(t, cfg, role("gives up again and again"))
	require.ErrorContains(t, next(t, y.failed), "no model")
	said := 0
	y.do(func() { said = strings.Count(log.String(), `msg="worker gave up"`) })
	require.Equal(t, 1, said)
	require.EqualValues(t, 99, y.DroppedLines())
}

func TestStartTimeoutBoundsAProbeWithoutAnswer(t *testing.T) {
	m := role("ready, then nothing")
	m.StartTimeout = 300 * time.Millisecond
	y := newYard(t, never, m)
	require.ErrorContains(t, next(t, y.failed), "not ready within 300ms")
}

func TestFailedStartIsTriedAgainAfterItsBackoff(t *testing.T) {
	y := newYard(t, Config{BackoffMin: time.Millisecond, BackoffMax: 2 * time.Millisecond}, role("exits"))
	for range 3 {
		next(t, y.failed)
	}
	require.GreaterOrEqual(t, y.stats().StartFailures, int64(3))
}

// A standby that gives no sign of life is replaced like one that died.
func TestStandbyThatHangsIsReplaced(t *testing.T) {
	y := newYard(t, Config{BackoffMin: time.Millisecond, BackoffMax: 2 * time.Millisecond}, role("healthy once"))
	first := next(t, y.ready)
	require.Contains(t, next(t, y.exited), "no answer to a probe within 300ms (killed by SIGKILL)")
	require.NotEqual(t, first.ID, next(t, y.ready).ID)
}

// An engine that is gone had activated a standby, whose word of that comes
// before its answer to the probe by which it is asked. It lives on.
func TestStandbyThatIsActiveAlreadyLivesOn(t *testing.T) {
	y := newYard(t, never, role("good"))
	w := next(t, y.ready)
	var asked uint64
	y.do(func() {
		y.Reconnect(y.engine)
		asked = w.life.probe
		y.Activated(w.ID, "shared:a", 1)
	})
	for answered := asked; answered < asked+8; { // 300 ms have passed then
		select {
		case cause := <-y.exited:
			require.FailNow(t, "it has ended", cause)
		case <-time.After(time.Millisecond):
			y.do(func() { answered = w.life.probe })
		}
	}
}

func TestStandbyThatDiesIsReplacedAfterABackoff(t *testing.T) {
	y := newYard(t, never, role("good"))
	w := next(t, y.ready)
	var err error
	y.do(func() { err = y.Signal(w, unix.SIGKILL) })
	require.NoError(t, err)
	require.Equal(t, "killed by SIGKILL", next(t, y.exited))
	s := y.stats()
	require.Positive(t, s.Backoff)
	require.Zero(t, s.Starting+s.Standby)
	require.Zero(t, s.StartFailures, "it had started well")
}

func TestBackoffGrowsWithinItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const least, most = 100 * time.Millisecond, time.Second
		k := NewKeeper(Config{BackoffMin: least, BackoffMax: most}, nil, nil, nil, Hooks{})
		b := backoff.NewExponentialBackOff()
		b.InitialInterval, b.MaxInterval = least, most
		p := &workerPool{backoff: b}
		var waits []time.Duration
		for range 30 {
			k.loop = loop.New()
			k.block(p)
			waits = append(waits, time.Until(p.retryAt))
			k.block(p) // another failure meanwhile makes it no longer
			k.loop.Run(func() bool { return p.retryAt.IsZero() })
		}
		for _, d := range waits {
			require.GreaterOrEqual(t, d, least)
			require.LessOrEqual(t, d, most)
		}
		require.Less(t, waits[0], waits[len(waits)-1])
		time.Sleep(2*most + 1)
		k.block(p)
		require.LessOrEqual(t, time.Until(p.retryAt), 3*least/2, "a quiet time lets it begin anew")
		p.retry.Stop()
	})
}

func TestStartErrorText(t *testing.T) {
	cause := errors.New("not ready within 1s")
	for want, e := range map[string]*StartError{
		"pattern a: worker a-7 failed at spawn: not ready within 1s":                                             {Step: StepSpawn},
		"pattern a: worker a-7 failed at handshake: not ready within 1s (killed by SIGKILL)":                     {Step: StepHandshake, Status: "killed by SIGKILL"},
		"pattern a: worker a-7 failed at probe: not ready within 1s (killed by SIGKILL); last output: one | two": {Step: StepProbe, Status: "killed by SIGKILL", Output: []string{"one", "two"}},
	} {
		e.Pattern, e.Worker, e.Err = "a", "a-7", cause
		require.EqualError(t, e, want)
		require.ErrorIs(t, e, cause)
	}
}

// A worker that goes on sending more than it may is failed for that. Until then
// it waits: its messages are read slowly.
func TestFloodOfMessagesFailsAWorker(t *testing.T) {
	begun := time.Now()
	y := newYard(t, never, role("floods"))
	err := next(t, y.failed)
	require.ErrorContains(t, err, "sent more than 200 messages a second for long (killed by SIGKILL)")
	require.GreaterOrEqual(t, time.Since(begun), time.Second, "they are read as fast as they come")
}
