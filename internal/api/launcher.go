package api

import (
	"context"
	"time"

	"understudy/isolation"
	"understudy/proto/prism/launcher"
)

// maxGrace bounds the grace period of a request.
const maxGrace = 24 * time.Hour

// launcherService is prism.launcher.PatternLauncher.
type launcherService struct {
	launcher.UnimplementedPatternLauncherServer
	core  Core
	begun time.Time
}

// LaunchPattern implements launcher.PatternLauncherServer.
func (s *launcherService) LaunchPattern(ctx context.Context, r *launcher.LaunchRequest) (*launcher.LaunchResponse, error) {
	level, err := levelOf(r.GetIsolation())
	if err != nil {
		return nil, err
	}
	grace, err := graceOf(r.GetGracePeriodSecs())
	if err != nil {
		return nil, err
	}
	b, err := s.core.Acquire(ctx, isolation.AcquireRequest{
		Pattern:    r.GetPatternName(),
		Key:        isolation.Key{Namespace: r.GetNamespace(), Session: r.GetSessionId(), Level: level},
		Config:     r.GetConfig(),
		LaunchedBy: callerUID(ctx),
		Grace:      grace,
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &launcher.LaunchResponse{ProcessId: b.ProcessID, State: processState(b.State), Address: b.Address, Healthy: b.Healthy}, nil
}

// ListPatterns implements launcher.PatternLauncherServer.
func (s *launcherService) ListPatterns(_ context.Context, r *launcher.ListPatternsRequest) (*launcher.ListPatternsResponse, error) {
	all := s.core.List()
	out := &launcher.ListPatternsResponse{TotalCount: int32(len(all))}
	now := time.Now()
	for _, b := range all {
		if (r.GetPatternName() == "" || r.GetPatternName() == b.Pattern) &&
			(r.GetNamespace() == "" || r.GetNamespace() == b.Key.Namespace) &&
			(r.GetState() == launcher.ProcessState_STATE_UNSPECIFIED || r.GetState() == processState(b.State)) {
			out.Patterns = append(out.Patterns, patternInfo(b, now))
		}
	}
	return out, nil
}

// TerminatePattern implements launcher.PatternLauncherServer.
func (s *launcherService) TerminatePattern(ctx context.Context, r *launcher.TerminateRequest) (*launcher.TerminateResponse, error) {
	if r.GetProcessId() == "" {
		return nil, invalid("process_id", "must not be empty")
	}
	grace, err := graceOf(r.GetGracePeriodSecs())
	if err != nil {
		return nil, err
	}
	if err := s.core.Release(ctx, r.GetProcessId(), isolation.ReleaseOptions{Grace: grace, Force: r.GetForce()}); err != nil {
		return nil, toStatus(err)
	}
	return &launcher.TerminateResponse{Success: true}, nil
}

// Health implements launcher.PatternLauncherServer. That the launcher answers
// is its health; a tenant whose worker does not start does not make it sick.
func (s *launcherService) Health(_ context.Context, r *launcher.HealthRequest) (*launcher.HealthResponse, error) {
	now := time.Now()
	all := s.core.List()
	out := &launcher.HealthResponse{
		Healthy:               true,
		TotalProcesses:        int32(len(all)),
		IsolationDistribution: make(map[string]int32),
		UptimeSeconds:         int64(now.Sub(s.begun).Seconds()),
	}
	for _, b := range all {
		switch processState(b.State) {
		case launcher.ProcessState_STATE_RUNNING:
			out.RunningProcesses++
		case launcher.ProcessState_STATE_TERMINATING:
			out.TerminatingProcesses++
		case launcher.ProcessState_STATE_FAILED:
			out.FailedProcesses++
		}
		out.IsolationDistribution[b.Key.Level.String()]++
		if r.GetIncludeProcesses() {
			out.Processes = append(out.Processes, patternInfo(b, now))
		}
	}
	return out, nil
}

// GetProcessStatus implements launcher.PatternLauncherServer.
func (s *launcherService) GetProcessStatus(_ context.Context, r *launcher.GetProcessStatusRequest) (*launcher.GetProcessStatusResponse, error) {
	b, ok := s.core.Lookup(r.GetProcessId())
	if !ok {
		return &launcher.GetProcessStatusResponse{NotFound: true}, nil
	}
	return &launcher.GetProcessStatusResponse{Process: patternInfo(b, time.Now())}, nil
}

func levelOf(l launcher.IsolationLevel) (isolation.Level, error) {
	switch l {
	case launcher.IsolationLevel_ISOLATION_LEVEL_UNSPECIFIED:
		return isolation.LevelUnspecified, nil
	case launcher.IsolationLevel_ISOLATION_NONE:
		return isolation.LevelNone, nil
	case launcher.IsolationLevel_ISOLATION_NAMESPACE:
		return isolation.LevelNamespace, nil
	case launcher.IsolationLevel_ISOLATION_SESSION:
		return isolation.LevelSession, nil
	}
	return 0, invalid("isolation", "%d is no isolation level", l)
}

func graceOf(seconds int64) (time.Duration, error) {
	if seconds < 0 || seconds > int64(maxGrace/time.Second) {
		return 0, invalid("grace_period_secs", "%d is not between 0 and %d", seconds, int64(maxGrace/time.Second))
	}
	return time.Duration(seconds) * time.Second, nil
}
