package sentinel

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait of a probe: a death takes 0.1 ms, but a machine
// that is booting, or emulated, may not get to it for long, and what is decided
// here holds for the life of the sentinel.
const patience = 2 * time.Second

// token of the throw-away child: the sentinel's own begin at 1.
const probeToken = 1<<64 - 1

// trial is one way to die, and which notices must come of it while the memory
// is still there.
type trial struct {
	name string
	die  func(*child)
	want []Kind
}

// kernelTrials: the sender sees one, the exiting task the other.
var kernelTrials = []trial{
	{"exit", (*child).exit, []Kind{Fenced}},
	{"SIGKILL", func(c *child) { c.kill(unix.SIGKILL) }, []Kind{Doomed, Fenced}},
}

// connectorTrials: it tells of nothing else.
var connectorTrials = []trial{
	{"SIGABRT", func(c *child) { c.kill(unix.SIGABRT) }, []Kind{Doomed}},
}

// try finds out whether a source tells of deaths before the teardown, not
// whether it should: it lets a child die in each way. That the notice was
// early is no question of timing: at that instant the child still had its
// memory.
func try(source earlySource, trials []trial) error {
	image, err := childImage()
	if err != nil {
		return fmt.Errorf("throw-away child: %w", err)
	}
	defer image.Close()
	for _, t := range trials {
		c, err := startChild(image, patience)
		if err != nil {
			return fmt.Errorf("throw-away child: %w", err)
		}
		err = t.run(source, c)
		c.end()
		if err != nil {
			return fmt.Errorf("tried on a child that dies by %s: %w", t.name, err)
		}
	}
	return nil
}

func (t trial) run(source earlySource, c *child) error {
	if err := source.watch(c.pid, probeToken); err != nil {
		return err
	}
	defer source.unwatch(c.pid)
	var came [Exited + 1]bool
	var late Kind
	take := func(r record) {
		if r.token != probeToken && r.pid != c.pid {
			return
		}
		came[r.kind] = true
		if !r.early {
			late = r.kind
		}
	}
	t.die(c)
	if !readable(c.pidfd, patience) {
		return fmt.Errorf("it lived on for %v", patience)
	}
	source.drain(take) // all was written before the pidfd could fire
	for _, k := range t.want {
		if !came[k] {
			return fmt.Errorf("no notice that it was %s", k)
		}
	}
	if late != 0 {
		return fmt.Errorf("the notice that it was %s came after its memory was freed", late)
	}
	return nil
}
