package supervisor

import (
	"fmt"

	"understudy/internal/deepqueue"
	"understudy/isolation"
	"understudy/patterns"
	"understudy/sentinel"
)

// openQueues makes the network namespace for unix endpoints, where the
// machine's own somaxconn would cut their queues.
func (s *Supervisor) openQueues() {
	most, err := deepqueue.Somaxconn()
	switch {
	case err == nil && most >= patterns.MaxBacklog:
		s.whyNoQueues = "" // and none is needed
		return
	case !s.cfg.DeepQueues:
		s.whyNoQueues = "deep_queues is false in the configuration"
		return
	}
	if s.queues, err = deepqueue.Open(patterns.MaxBacklog); err != nil {
		s.queues, s.whyNoQueues = nil, err.Error()
	}
}

// queuesFeature says how many clients may wait at an endpoint.
func (s *Supervisor) queuesFeature() sentinel.Feature {
	f := sentinel.Feature{Name: "accept queues", Best: s.whyNoQueues == "", Why: s.whyNoQueues}
	most, err := deepqueue.Somaxconn()
	switch {
	case err != nil:
		f.InUse, f.Best, f.Why = "unknown", false, err.Error()
	case s.queues != nil:
		f.InUse = fmt.Sprintf("as the manifest says at unix endpoints, %d at TCP ones", most)
	case f.Best:
		f.InUse = "as the manifest says"
	default:
		f.InUse = fmt.Sprintf("at most %d connections", most)
		f.Why += "; or raise net.core.somaxconn"
	}
	return f
}

// cutQueues warns of endpoints at which fewer clients may wait than their
// manifest says. The kernel tells nobody when it cuts.
func cutQueues(bindings []isolation.Binding) (n, least int) {
	for _, b := range bindings {
		if b.BacklogCut {
			if n++; least == 0 || b.Backlog < least {
				least = b.Backlog
			}
		}
	}
	return n, least
}
