package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/internal/observe"
	"understudy/isolation"
	"understudy/pool"
	"understudy/proto/prism/launcher"
)

func TestErrorsHaveTheirCodes(t *testing.T) {
	start := &pool.StartError{Pattern: "echo", Worker: "echo-1", Step: pool.StepHandshake,
		Status: "exited with code 3", Output: []string{"no model"}, Err: errors.New("control socket closed")}
	for _, tt := range []struct {
		err  error
		code codes.Code
		text string
	}{
		{&isolation.FieldError{Field: "namespace", Reason: "is wrong"}, codes.InvalidArgument, "namespace: is wrong"},
		{&isolation.FieldError{Field: "session", Reason: "is wrong"}, codes.InvalidArgument, "session_id: is wrong"},
		{fmt.Errorf("%w \"x\"", isolation.ErrUnknownPattern), codes.NotFound, `unknown pattern "x"`},
		{fmt.Errorf("%w \"x\"", isolation.ErrUnknownBinding), codes.NotFound, `unknown process id "x"`},
		{fmt.Errorf("x: %w", start), codes.Internal, "x: pattern echo: worker echo-1 failed at handshake: control socket closed (exited with code 3); last output: no model"},
		{isolation.ErrNoActiveWorker, codes.FailedPrecondition, "no active worker"},
		{isolation.ErrQuarantined, codes.ResourceExhausted, "crash budget is spent"},
		{observe.ErrTooManySubscribers, codes.ResourceExhausted, "too many subscribers to events"},
		{isolation.ErrTerminated, codes.Aborted, "terminated while starting"},
		{isolation.ErrClosed, codes.Unavailable, "supervisor is stopping"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "x: context deadline exceeded"},
		{context.Canceled, codes.Canceled, "context canceled"},
		{errors.New("100%s"), codes.Internal, "100%s"},
	} {
		st := status.Convert(toStatus(tt.err))
		require.Equal(t, tt.code, st.Code(), tt.text)
		require.Equal(t, tt.text, st.Message())
	}
	require.NoError(t, toStatus(nil))
}

func TestMessagesFitAHeader(t *testing.T) {
	require.Equal(t, "as it is", shorten("as it is"))
	require.Equal(t, "a\uFFFDb", shorten("a\xffb"))
	long := shorten(strings.Repeat("ä", maxMessage))
	require.True(t, utf8.ValidString(long))
	require.LessOrEqual(t, len(long), maxMessage+4)
	require.True(t, strings.HasSuffix(long, "ä ..."), long)
}

func TestStatesOnTheLaunchersWire(t *testing.T) {
	for s, want := range map[isolation.State]launcher.ProcessState{
		isolation.Starting:   launcher.ProcessState_STATE_STARTING,
		isolation.Active:     launcher.ProcessState_STATE_RUNNING,
		isolation.Recovering: launcher.ProcessState_STATE_RUNNING,
		isolation.Draining:   launcher.ProcessState_STATE_TERMINATING,
		isolation.Failed:     launcher.ProcessState_STATE_FAILED,
		isolation.Gone:       launcher.ProcessState_STATE_TERMINATED,
	} {
		require.Equal(t, want, processState(s), s)
	}
}
