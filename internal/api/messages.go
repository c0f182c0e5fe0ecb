package api

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"understudy/internal/event"
	"understudy/internal/monotime"
	"understudy/isolation"
	"understudy/pool"
	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
)

// processState is a binding's state in the launcher's words. A recovering
// binding runs, though it is not healthy: its address takes connections.
func processState(s isolation.State) launcher.ProcessState {
	switch s {
	case isolation.Starting:
		return launcher.ProcessState_STATE_STARTING
	case isolation.Active, isolation.Recovering:
		return launcher.ProcessState_STATE_RUNNING
	case isolation.Draining:
		return launcher.ProcessState_STATE_TERMINATING
	case isolation.Failed:
		return launcher.ProcessState_STATE_FAILED
	case isolation.Gone:
		return launcher.ProcessState_STATE_TERMINATED
	}
	return launcher.ProcessState_STATE_UNSPECIFIED
}

// uptime is since the worker of now became active.
func uptime(b isolation.Binding, now time.Time) time.Duration {
	if b.Pid == 0 || b.Activated.IsZero() {
		return 0
	}
	return now.Sub(b.Activated)
}

func patternInfo(b isolation.Binding, now time.Time) *launcher.PatternInfo {
	return &launcher.PatternInfo{
		PatternName:   b.Pattern,
		ProcessId:     b.ProcessID,
		State:         processState(b.State),
		Address:       b.Address,
		Healthy:       b.Healthy,
		UptimeSeconds: int64(uptime(b, now).Seconds()),
		Namespace:     b.Key.Namespace,
		SessionId:     b.Key.Session,
		LastError:     shorten(b.LastError),
		ErrorCount:    int32(b.Errors),
		RestartCount:  int32(b.Restarts),
		Pid:           int32(b.Pid),
	}
}

func bindingMessage(b isolation.Binding) *understudyv1.Binding {
	return &understudyv1.Binding{
		ProcessId: b.ProcessID,
		Pattern:   b.Pattern,
		Key: &understudyv1.Key{Region: b.Key.Region, Namespace: b.Key.Namespace,
			Session: b.Key.Session, Level: b.Key.Level.String()},
		State:           b.State.String(),
		Healthy:         b.Healthy,
		Address:         b.Address,
		Epoch:           b.Epoch,
		Worker:          b.Worker,
		Pid:             int32(b.Pid),
		Created:         timestamp(b.Created),
		Activated:       timestamp(b.Activated),
		RestartCount:    int32(b.Restarts),
		ErrorCount:      int32(b.Errors),
		LastError:       shorten(b.LastError),
		Config:          b.Config,
		LaunchedByUid:   b.LaunchedBy,
		Notes:           b.Notes,
		Standby:         b.Standby,
		EndpointRepairs: int32(b.EndpointRepairs),
		Segments:        int32(b.Segments),
		SegmentBytes:    uint64(b.SegmentBytes),
		OwnObjects:      int32(b.OwnObjects),
		OwnBytes:        uint64(b.OwnBytes),
	}
}

// hideConfig leaves the names of a config and takes its values away: they may be
// secrets of the tenant.
func hideConfig(m *understudyv1.Binding) *understudyv1.Binding {
	hidden := make(map[string]string, len(m.Config))
	for k := range m.Config {
		hidden[k] = ""
	}
	m.Config, m.ConfigHidden = hidden, len(hidden) > 0
	return m
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func routesUpdate(u isolation.RoutesUpdate) *understudyv1.RoutesUpdate {
	out := &understudyv1.RoutesUpdate{Full: u.Full, Revision: u.Revision}
	// Routes carry the monotonic clock; the difference to the wall clock is
	// that of now.
	wall, monotonic := time.Now(), monotime.Now()
	for _, r := range u.Routes {
		out.Routes = append(out.Routes, &understudyv1.Route{
			ProcessId:            r.ProcessID,
			Pattern:              r.Pattern,
			Namespace:            r.Key.Namespace,
			Session:              r.Key.Session,
			Address:              r.Address,
			Epoch:                r.Epoch,
			Pid:                  int32(r.Pid),
			State:                routeState(r),
			Reason:               routeReason(r.Reason),
			DeathMonotonicNs:     r.Death,
			PublishedMonotonicNs: r.Published,
			Published:            timestamppb.New(wall.Add(time.Duration(r.Published - monotonic))),
		})
	}
	return out
}

// routeState is a binding's state as proxies see it. A worker that was just
// activated counts, at a launch as at a failover: connections queue until it
// accepts. The address of a failed binding is closed, so for them it is gone.
func routeState(r isolation.Route) understudyv1.RouteState {
	switch r.State {
	case isolation.Active:
		return understudyv1.RouteState_ROUTE_STATE_ACTIVE
	case isolation.Starting:
		if r.Pid != 0 {
			return understudyv1.RouteState_ROUTE_STATE_ACTIVE
		}
		return understudyv1.RouteState_ROUTE_STATE_WAITING
	case isolation.Recovering:
		return understudyv1.RouteState_ROUTE_STATE_WAITING
	}
	return understudyv1.RouteState_ROUTE_STATE_GONE
}

func routeReason(r isolation.Reason) understudyv1.RouteReason {
	switch r {
	case isolation.ReasonLaunch:
		return understudyv1.RouteReason_ROUTE_REASON_LAUNCH
	case isolation.ReasonHandover:
		return understudyv1.RouteReason_ROUTE_REASON_HANDOVER
	case isolation.ReasonFailover:
		return understudyv1.RouteReason_ROUTE_REASON_FAILOVER
	case isolation.ReasonTerminate:
		return understudyv1.RouteReason_ROUTE_REASON_TERMINATE
	case isolation.ReasonFailed:
		return understudyv1.RouteReason_ROUTE_REASON_FAILED
	}
	return understudyv1.RouteReason_ROUTE_REASON_UNSPECIFIED
}

func eventMessage(e event.Event, dropped uint64) *understudyv1.Event {
	return &understudyv1.Event{
		Time:          timestamp(e.Time),
		Kind:          string(e.Kind),
		Pattern:       e.Pattern,
		ProcessId:     e.ProcessID,
		Worker:        e.Worker,
		Pid:           int32(e.Pid),
		Epoch:         e.Epoch,
		Message:       shorten(e.Message),
		DroppedBefore: dropped,
		Facts:         shortenAll(e.Facts),
	}
}

// shortenAll is shorten for facts: a file's name may be any bytes.
func shortenAll(facts map[string]string) map[string]string {
	out := make(map[string]string, len(facts))
	for k, v := range facts {
		out[k] = shorten(v)
	}
	return out
}

func poolMessage(p pool.Stats) *understudyv1.Pool {
	return &understudyv1.Pool{
		Pattern:            p.Pattern,
		SparesMin:          int32(p.Min),
		SparesMax:          int32(p.Max),
		Standby:            int32(p.Standby),
		Starting:           int32(p.Starting),
		Active:             int32(p.Active),
		Draining:           int32(p.Draining),
		StartedTotal:       p.Started,
		StartFailuresTotal: p.StartFailures,
		LastError:          shorten(p.LastError),
		BackoffMs:          p.Backoff.Milliseconds(),
	}
}
