package pool

// census is what the plan looks at of one pool.
type census struct {
	min, max int
	standby  int
	starting int
	// demand is how many bindings wait for a worker now.
	demand int
	// blocked: a start failed lately and the spares' backoff is not over.
	blocked bool
	// held: a start failed just now, and whoever waits waits a moment, so that a
	// program that cannot start does not take a core.
	held bool
}

// missing is how many more workers the pool should be starting now. The backoff
// holds back spares, not those for whom bindings wait.
func (c census) missing() int {
	want := c.demand
	if c.held {
		want = 0
	}
	if !c.blocked {
		want += c.min
	}
	return max(0, want-c.standby-c.starting)
}

// surplus is how many standbys are too many. Those that bindings wait for are
// not.
func (c census) surplus() int {
	return max(0, c.standby-max(c.max, c.min)-c.demand)
}

// planStarts decides how many workers each pool starts now, with running
// starts under way and at most limit at once. Bindings that wait come before
// spares, and pools take turns, so that no pattern starves another. Where the
// starts of others take all the room, a pool that bindings wait for has one
// start beyond the limit.
func planStarts(pools []census, running, limit int) []int {
	starts := make([]int, len(pools))
	room := limit - running
	give := func(wants func(i int) bool) {
		for granted := true; granted && room > 0; {
			granted = false
			for i := range pools {
				if room > 0 && starts[i] < pools[i].missing() && wants(i) {
					starts[i]++
					room--
					granted = true
				}
			}
		}
	}
	give(func(i int) bool { return starts[i]+pools[i].starting < pools[i].demand })
	give(func(int) bool { return true })
	for i, p := range pools {
		if p.demand > 0 && !p.held && p.starting+starts[i] == 0 && p.missing() > 0 {
			starts[i] = 1
		}
	}
	return starts
}
