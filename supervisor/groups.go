package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"understudy/internal/cgroup"
	"understudy/sentinel"
)

// leftoverTimeout bounds the wait for the end of an earlier life's workers.
const leftoverTimeout = 10 * time.Second

// instance names the supervisors of one runtime directory, of which there is
// one at a time.
func (s *Supervisor) instance() string {
	sum := sha256.Sum256([]byte(s.cfg.RuntimeDir))
	return hex.EncodeToString(sum[:6])
}

// openGroups makes the control groups' folder and ends what an earlier life,
// which did not stop in order, left in it: nobody would ever fail those workers
// over, and beside them a binding would have two.
func (s *Supervisor) openGroups() error {
	if !s.cfg.Cgroups {
		s.whyNoGroups = "cgroups is false in the configuration"
		return nil
	}
	tree, err := cgroup.Open(s.instance())
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
			return fmt.Errorf("a worker of an earlier supervisor does not end: %w", err)
		}
	}
	if len(left) > 0 {
		s.log.Warn("ended the workers that an earlier supervisor left", "workers", len(left))
		s.repairs.Add(uint64(len(left)))
	}
	s.groups = tree
	return nil
}

// groupsFeature says whether what a worker forks can be ended with it.
func (s *Supervisor) groupsFeature() sentinel.Feature {
	if s.groups != nil {
		return sentinel.Feature{Name: "worker cgroups", InUse: "one for each worker", Best: true}
	}
	return sentinel.Feature{Name: "worker cgroups", InUse: "none: processes that leave a worker's process group outlive it",
		Why: s.whyNoGroups}
}
