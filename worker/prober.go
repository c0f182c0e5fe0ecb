package worker

import "context"

// prober runs the canary, one at a time. It belongs to the loop of a life.
type prober struct {
	canary  func(context.Context) error // nil without one
	ctx     context.Context
	results chan result
	running bool
	// next is the last probe that came while the canary was running; those
	// between are never answered, which the supervisor counts as hung anyway.
	next    uint64
	waiting bool
}

// result is the canary's answer to one probe.
type result struct {
	id  uint64
	err error
}

func newProber(ctx context.Context, canary func(context.Context) error) prober {
	return prober{ctx: ctx, canary: canary, results: make(chan result, 1)}
}

// start has results deliver the answer to a probe, now or when the canary that
// is under way has ended.
func (p *prober) start(id uint64) {
	if p.running {
		p.next, p.waiting = id, true
		return
	}
	if p.canary == nil {
		p.running = true
		p.results <- result{id: id}
		return
	}
	p.running = true
	go func() { p.results <- result{id, p.canary(p.ctx)} }()
}

// finished is to be called with each result taken.
func (p *prober) finished() {
	p.running = false
	if p.waiting {
		p.waiting = false
		p.start(p.next)
	}
}
