package pool

import (
	"time"

	"github.com/cenkalti/backoff/v5"

	"understudy/internal/loop"
	"understudy/internal/pace"
	"understudy/patterns"
	"understudy/takeover"
)

// PoolKey names a pool. It is opaque here; today it is the pattern's name.
type PoolKey string

// workerPool is the workers that can stand in for each other.
type workerPool struct {
	id       takeover.PoolID
	key      PoolKey
	manifest *patterns.Manifest
	demand   int
	counts   [Failed + 1]int
	backoff  *backoff.ExponentialBackOff
	retryAt  time.Time // zero: not blocked
	retry    *loop.Timer
	// blockedAt is when a start was last held back.
	blockedAt time.Time

	starts, failures int64
	failure          error         // the newest failed start, nil after a good one
	startTime        time.Duration // see StartTime
	// demandAt is when the next start for a waiting binding may be; zero: now.
	demandAt time.Time
}

// Stats returns a snapshot of every pool, in the order of their names' adding.
func (k *Keeper) Stats() []Stats {
	out := make([]Stats, 0, len(k.order))
	for _, p := range k.order {
		s := Stats{Pattern: p.manifest.Name, Min: p.manifest.Spares.Min, Max: p.manifest.Spares.Max,
			Standby: p.counts[Standby], Starting: p.counts[Starting] + p.counts[Warming],
			Active: p.counts[Active], Draining: p.counts[Draining],
			Started: p.starts, StartFailures: p.failures}
		if p.failure != nil {
			s.LastError = p.failure.Error()
		}
		if !p.retryAt.IsZero() {
			s.Backoff = max(0, time.Until(p.retryAt))
		}
		out = append(out, s)
	}
	return out
}

// fillLater fills the pools when whoever was activated has had its moment.
// Bindings that wait do not wait for that: their demand fills at once.
func (k *Keeper) fillLater() {
	if k.refilling {
		return
	}
	k.refilling = true
	k.loop.After(pace.Refill, func() {
		k.refilling = false
		k.fill()
	})
}

// fill starts what is missing and retires what is too many.
func (k *Keeper) fill() {
	if k.stopping {
		return
	}
	views := make([]census, len(k.order))
	for i, p := range k.order {
		views[i] = census{min: p.manifest.Spares.Min, max: p.manifest.Spares.Max, standby: p.counts[Standby],
			starting: p.counts[Starting] + p.counts[Warming], demand: p.demand, blocked: !p.retryAt.IsZero(),
			held: !p.demandAt.IsZero()}
	}
	for i, n := range planStarts(views, k.running, k.cfg.MaxConcurrentStarts) {
		for range min(n, k.room()) {
			k.start(k.order[i])
		}
	}
	for i, p := range k.order {
		k.retire(p, views[i].surplus())
	}
}

// retire asks the engine for n standbys back; Withdrawn brings them.
func (k *Keeper) retire(p *workerPool, n int) {
	if n == 0 {
		return
	}
	for _, w := range k.workers {
		if w.life.withdrawing && w.pool == p {
			n--
		}
	}
	for _, w := range k.workers {
		if n > 0 && w.pool == p && w.life.state == Standby && !w.life.withdrawing {
			k.feed(w, input{kind: inRetire})
			n--
		}
	}
}

// startWeight is how much a new start counts in the mean of start times: 1 of
// this.
const startWeight = 4

// started notes a start that went well.
func (p *workerPool) started(took time.Duration) {
	p.failure = nil
	if p.startTime == 0 {
		p.startTime = took
	}
	p.startTime += (took - p.startTime) / startWeight
}

// maxDemandPause bounds how long a failed start holds back the next one for a
// binding that waits.
const maxDemandPause = 100 * time.Millisecond

// hold makes those who wait wait a moment after a start that failed. Unlike the
// backoff of the spares it does not grow.
func (k *Keeper) hold(p *workerPool) {
	if !p.demandAt.IsZero() {
		return
	}
	d := min(k.cfg.BackoffMin, maxDemandPause)
	p.demandAt = time.Now().Add(d)
	k.loop.After(d, func() {
		p.demandAt = time.Time{}
		k.fill()
	})
}

// block holds a pattern's starts back after a start that failed or a standby
// that died. Each time in a row waits longer; quiet times and activations let
// it begin anew from the minimum.
func (k *Keeper) block(p *workerPool) {
	if !p.retryAt.IsZero() {
		return
	}
	if time.Since(p.blockedAt) > 2*k.cfg.BackoffMax {
		p.backoff.Reset()
	}
	p.blockedAt = time.Now()
	// Its jitter goes beyond the bounds on both sides.
	d := min(max(p.backoff.NextBackOff(), k.cfg.BackoffMin), k.cfg.BackoffMax)
	p.retryAt = p.blockedAt.Add(d)
	p.retry = k.loop.After(d, func() {
		p.retryAt = time.Time{}
		k.fill()
	})
}
