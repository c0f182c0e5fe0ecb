package supervisor

import (
	"fmt"
	"os"
	"slices"
	"time"

	"understudy/internal/hypervisor"
	"understudy/internal/version"
	"understudy/isolation"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/sentinel"
)

// core is what the API asks: the bindings, and the supervisor's own state.
type core struct {
	*isolation.Manager
	supervisor *Supervisor
}

// Status says how the supervisor runs.
func (c core) Status() *understudyv1.SupervisorStatus {
	s := c.supervisor
	bindings := c.List()
	build := version.Get()
	st := &understudyv1.SupervisorStatus{
		Version:          build.Version,
		Revision:         build.Revision,
		Pid:              int32(os.Getpid()),
		UptimeSeconds:    int64(time.Since(s.begun).Seconds()),
		Bindings:         int32(len(bindings)),
		Limits:           limitMessages(s.limits()),
		ReconcileRepairs: s.repairs.Load(),
	}
	if t := c.EngineTrouble(); t.Rejected > 0 {
		st.Warnings = append(st.Warnings, fmt.Sprintf("the takeover engine did not take %d commands, %d to the end; its limit of open files may be too low",
			t.Rejected, t.GivenUp))
	}
	for _, p := range c.Pools() {
		st.Standbys += int32(p.Standby)
		st.Workers += int32(p.Standby + p.Starting + p.Active + p.Draining)
	}
	for _, f := range s.currentFeatures() {
		st.Features = append(st.Features, &understudyv1.Feature{Name: f.Name, InUse: f.InUse, Best: f.Best, Why: f.Why})
	}
	st.Warnings = append(st.Warnings, warnings(st, bindings)...)
	return st
}

// currentFeatures is what the takeover engine said of itself when it started,
// and what the supervisor knows of the machine.
func (s *Supervisor) currentFeatures() []sentinel.Feature {
	var features []sentinel.Feature
	if f := s.features.Load(); f != nil {
		features = slices.Clone(*f)
	}
	return append(features, s.leaks.feature(), s.groupsFeature(), s.queuesFeature(), memoryFeature(hypervisor.PageReporting()), descriptorsFeature())
}
