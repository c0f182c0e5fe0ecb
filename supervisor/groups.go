package supervisor

import (
	"fmt"
	"os"
	"time"

	"understudy/internal/cgroup"
	"understudy/internal/paths"
	"understudy/sentinel"
)

// leftoverTimeout bounds the wait for the end of what is left in groups of our name.
const leftoverTimeout = 10 * time.Second

// openGroups makes the folder of this life's control groups. Workers of an
// earlier life, which did not stop in order, go on in theirs: nobody ends them,
// and nobody fails them over, until a supervisor can take them back. What is
// empty of those lives is removed.
func (s *Supervisor) openGroups() error {
	if !s.cfg.Cgroups {
		s.whyNoGroups = "cgroups is false in the configuration"
		return nil
	}
	s.sweepGroups()
	tree, err := cgroup.Open(fmt.Sprintf("%s-%d", paths.Instance(s.cfg.RuntimeDir), os.Getpid()))
	if err != nil {
		s.whyNoGroups = err.Error()
		return nil
	}
	left, err := tree.Groups()
	if err != nil {
		return err
	}
	for _, g := range left {
		if err := g.Remove(leftoverTimeout); err != nil {
			return fmt.Errorf("a worker of an earlier process with our pid does not end: %w", err)
		}
	}
	s.groups = tree
	return nil
}

// sweepGroups removes what is empty of the groups of earlier lives.
func (s *Supervisor) sweepGroups() { cgroup.Sweep(paths.Instance(s.cfg.RuntimeDir) + "-") }

// groupsFeature says whether what a worker forks can be ended with it.
func (s *Supervisor) groupsFeature() sentinel.Feature {
	if s.groups != nil {
		return sentinel.Feature{Name: "worker cgroups", InUse: "one for each worker", Best: true}
	}
	f := sentinel.Feature{Name: "worker cgroups", InUse: "none: processes that leave a worker's process group outlive it", Why: s.whyNoGroups}
	if s.strays {
		f.InUse = "none: processes that leave a worker's process group are looked for when it has been reaped, and known by UNDERSTUDY_WORKER in their environment"
	}
	return f
}
