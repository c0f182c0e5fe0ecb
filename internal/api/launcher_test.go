package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
)

func TestLaunchListStatusTerminate(t *testing.T) {
	h := open(t)
	ctx := soon(t)
	launch := func(r *launcher.LaunchRequest) *launcher.LaunchResponse {
		a, err := h.launcher.LaunchPattern(ctx, r)
		require.NoError(t, err)
		return a
	}
	// The manifest's level counts where the request names none.
	a := launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a"})
	require.Equal(t, "ns:a:good", a.ProcessId)
	require.Equal(t, launcher.ProcessState_STATE_RUNNING, a.State)
	require.True(t, a.Healthy)
	require.Empty(t, a.Error)

	again := launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a", SessionId: "ignored"})
	require.Equal(t, a.Address, again.Address, "a bound key gives the same binding")

	require.Equal(t, "ns:a:other", launch(&launcher.LaunchRequest{PatternName: "other", Namespace: "a"}).ProcessId)
	require.Equal(t, "session:s1:good", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "b", SessionId: "s1",
		Isolation: launcher.IsolationLevel_ISOLATION_SESSION}).ProcessId)
	require.Equal(t, "shared:good", launch(&launcher.LaunchRequest{PatternName: "good",
		Isolation: launcher.IsolationLevel_ISOLATION_NONE}).ProcessId)

	ids := func(r *launcher.ListPatternsRequest) (ids []string) {
		l, err := h.launcher.ListPatterns(ctx, r)
		require.NoError(t, err)
		require.EqualValues(t, 4, l.TotalCount, "before filtering")
		for _, p := range l.Patterns {
			ids = append(ids, p.ProcessId)
		}
		return ids
	}
	require.Equal(t, []string{"ns:a:good", "ns:a:other", "session:s1:good", "shared:good"}, ids(&launcher.ListPatternsRequest{}))
	require.Equal(t, []string{"ns:a:other"}, ids(&launcher.ListPatternsRequest{PatternName: "other"}))
	require.Equal(t, []string{"ns:a:good"}, ids(&launcher.ListPatternsRequest{PatternName: "good", Namespace: "a"}))
	require.Empty(t, ids(&launcher.ListPatternsRequest{State: launcher.ProcessState_STATE_FAILED}))

	p, err := h.launcher.GetProcessStatus(ctx, &launcher.GetProcessStatusRequest{ProcessId: "session:s1:good"})
	require.NoError(t, err)
	require.False(t, p.NotFound)
	require.Equal(t, "b", p.Process.Namespace)
	require.Equal(t, "s1", p.Process.SessionId)
	require.Equal(t, "good", p.Process.PatternName)
	require.Equal(t, fmt.Sprintf("%d session:s1:good 1\n", p.Process.Pid), ask(t, p.Process.Address))

	health, err := h.launcher.Health(ctx, &launcher.HealthRequest{IncludeProcesses: true})
	require.NoError(t, err)
	require.True(t, health.Healthy)
	require.EqualValues(t, 4, health.TotalProcesses)
	require.EqualValues(t, 4, health.RunningProcesses)
	require.Equal(t, map[string]int32{"none": 1, "namespace": 2, "session": 1}, health.IsolationDistribution)
	require.Len(t, health.Processes, 4)

	ended, err := h.launcher.TerminatePattern(ctx, &launcher.TerminateRequest{ProcessId: "ns:a:good", GracePeriodSecs: 3})
	require.NoError(t, err)
	require.True(t, ended.Success)
	p, err = h.launcher.GetProcessStatus(ctx, &launcher.GetProcessStatusRequest{ProcessId: "ns:a:good"})
	require.NoError(t, err)
	require.True(t, p.NotFound)
	require.Nil(t, p.Process)
}

// Each bad request gets one clear error, and a good binding is not disturbed.
func TestBadRequests(t *testing.T) {
	h := open(t)
	ctx := soon(t)
	good, err := h.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "good", Namespace: "calm"})
	require.NoError(t, err)
	before := ask(t, good.Address)

	session := launcher.IsolationLevel_ISOLATION_SESSION
	launch := func(r *launcher.LaunchRequest) func() error {
		return func() error { _, err := h.launcher.LaunchPattern(ctx, r); return err }
	}
	terminate := func(r *launcher.TerminateRequest) func() error {
		return func() error { _, err := h.launcher.TerminatePattern(ctx, r); return err }
	}
	signal := func(id string, n int32) func() error {
		return func() error {
			_, err := h.supervisor.SignalWorker(ctx, &understudyv1.SignalWorkerRequest{ProcessId: id, Signal: n})
			return err
		}
	}
	for _, tt := range []struct {
		name string
		call func() error
		code codes.Code
		text string // the error begins so
	}{
		{"no pattern name", launch(&launcher.LaunchRequest{Namespace: "a"}), codes.InvalidArgument, "pattern_name: "},
		{"no namespace", launch(&launcher.LaunchRequest{PatternName: "good"}), codes.InvalidArgument, "namespace: must not be empty"},
		{"no session", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a", Isolation: session}), codes.InvalidArgument, "session_id: must not be empty"},
		{"slash", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a/b"}), codes.InvalidArgument, `namespace: "a/b" contains '/'`},
		{"dots", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: ".."}), codes.InvalidArgument, `namespace: ".." contains`},
		{"NUL", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a\x00b"}), codes.InvalidArgument, `namespace: "a\x00b" contains`},
		{"10 kB", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: strings.Repeat("x", 10_000)}), codes.InvalidArgument, "namespace: is 10000 bytes long"},
		{"emoji", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a🙂"}), codes.InvalidArgument, `namespace: "a🙂" contains '🙂'`},
		{"colon", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a:b"}), codes.InvalidArgument, `namespace: "a:b" contains ':'`},
		{"bad session", launch(&launcher.LaunchRequest{PatternName: "good", SessionId: "../s", Isolation: session}), codes.InvalidArgument, "session_id: "},
		{"unknown level", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a", Isolation: 7}), codes.InvalidArgument, "isolation: 7 is no isolation level"},
		{"negative grace", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a", GracePeriodSecs: -1}), codes.InvalidArgument, "grace_period_secs: -1 is not between 0 and 86400"},
		{"endless grace", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a", GracePeriodSecs: 1 << 62}), codes.InvalidArgument, "grace_period_secs: "},
		{"large config", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: "a", Config: map[string]string{"k": strings.Repeat("x", 40<<10)}}), codes.InvalidArgument, "config: is 40961 bytes"},
		{"large request", launch(&launcher.LaunchRequest{PatternName: "good", Namespace: strings.Repeat("x", 1<<20)}), codes.ResourceExhausted, "grpc: received message larger than max"},
		{"unknown pattern", launch(&launcher.LaunchRequest{PatternName: "nope", Namespace: "a"}), codes.NotFound, `unknown pattern "nope"`},
		{"failed start", launch(&launcher.LaunchRequest{PatternName: "broken", Namespace: "a"}), codes.Internal, "pattern broken: worker broken-"},
		{"terminate nothing", terminate(&launcher.TerminateRequest{}), codes.InvalidArgument, "process_id: must not be empty"},
		{"terminate unknown", terminate(&launcher.TerminateRequest{ProcessId: "ns:x:good"}), codes.NotFound, `unknown process id "ns:x:good"`},
		{"terminate with negative grace", terminate(&launcher.TerminateRequest{ProcessId: good.ProcessId, GracePeriodSecs: -1}), codes.InvalidArgument, "grace_period_secs: "},
		{"signal unknown", signal("ns:x:good", 9), codes.NotFound, `unknown process id "ns:x:good"`},
		{"signal 0", signal(good.ProcessId, 0), codes.InvalidArgument, "signal: 0 is not between 1 and 64"},
		{"signal 65", signal(good.ProcessId, 65), codes.InvalidArgument, "signal: 65 is not between 1 and 64"},
		{"binding unknown", func() error {
			_, err := h.supervisor.GetBinding(ctx, &understudyv1.GetBindingRequest{ProcessId: strings.Repeat("y", 1000)})
			return err
		}, codes.NotFound, `unknown process id "yyy`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := status.Convert(tt.call())
			require.Equal(t, tt.code, st.Code(), st.Message())
			require.True(t, strings.HasPrefix(st.Message(), tt.text), st.Message())
			require.Less(t, len(st.Message()), 2100)
			require.NotContains(t, st.Message(), "\n")
		})
	}

	_, err = h.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "broken", Namespace: "a"})
	require.ErrorContains(t, err, "exited with code 3")
	require.ErrorContains(t, err, "cannot find my model", "the last lines of its output")

	unknown, err := h.launcher.GetProcessStatus(ctx, &launcher.GetProcessStatusRequest{ProcessId: "ns:x:good"})
	require.NoError(t, err)
	require.True(t, unknown.NotFound)

	require.Equal(t, before, ask(t, good.Address), "same worker, same epoch")
}
