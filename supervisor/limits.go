package supervisor

import (
	"fmt"
	"math"

	"understudy/internal/descriptors"
	"understudy/isolation"
	understudyv1 "understudy/proto/understudy/v1"
)

// countDescriptors says how many file descriptors are in use, and how many may
// be. Where the kernel does not say, there is no limit but its own.
func countDescriptors() (used, most int) {
	used, err := descriptors.InUse()
	if err == nil {
		most, err = descriptors.Limit()
	}
	if err != nil {
		return 0, math.MaxInt32
	}
	return used, most
}

// limits are the supervisor's bounds as they are used now.
func (s *Supervisor) limits() []isolation.Limit {
	return append(s.manager.Limits(), s.api.Watchers())
}

func limitMessages(limits []isolation.Limit) (out []*understudyv1.Limit) {
	for _, l := range limits {
		out = append(out, &understudyv1.Limit{Name: l.Name, Used: int64(l.Used), Max: int64(l.Max), Refused: l.Refused})
	}
	return out
}

// nearly is the part of a limit from which on it is worth a warning.
const nearly = 0.9

// warnings are what an operator should look at, each with why and what to do.
func warnings(st *understudyv1.SupervisorStatus, bindings []isolation.Binding) (out []string) {
	for _, f := range st.Features {
		if !f.Best {
			out = append(out, fmt.Sprintf("%s: %s: %s", f.Name, f.InUse, f.Why))
		}
	}
	if n, least := cutQueues(bindings); n > 0 {
		out = append(out, fmt.Sprintf("accept queues of endpoints: %d are shorter than their manifests say, the shortest holds %d: the kernel cuts them to net.core.somaxconn; raise it, then launch these bindings again", n, least))
	}
	for _, l := range st.Limits {
		if l.Max > 0 && float64(l.Used) >= nearly*float64(l.Max) {
			w := fmt.Sprintf("%s: %d of %d are in use; what is beyond is refused", l.Name, l.Used, l.Max)
			if l.Name == isolation.WorkersThatFit {
				w += "; raise the hard limit (LimitNOFILE in the unit, ulimit -Hn)"
			}
			out = append(out, w)
		}
	}
	return out
}
