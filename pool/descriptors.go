package pool

import "math"

const (
	// WorkerDescriptors is what a worker takes of our descriptors: two pidfds,
	// its own and its exit helper's, the control socket, a copy of it and an
	// epoll, the doom socket, two output pipes and cgroup.procs.
	WorkerDescriptors = 9
	// reservedDescriptors are kept free for callers of the API, files that are
	// written, and what a start holds only for a moment.
	reservedDescriptors = 48
)

// FreeDescriptors is how many of our descriptors nobody has, and no start that
// is under way will take.
func (k *Keeper) FreeDescriptors() int {
	if k.cfg.Descriptors == nil {
		return math.MaxInt
	}
	used, most := k.cfg.Descriptors()
	for _, p := range k.order {
		used += p.counts[Starting] * WorkerDescriptors
	}
	return max(0, most-used-reservedDescriptors)
}

// Fits is how many more workers there are descriptors for.
func (k *Keeper) Fits() int { return k.FreeDescriptors() / WorkerDescriptors }
