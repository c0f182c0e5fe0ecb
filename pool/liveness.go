package pool

import (
	"fmt"
	"time"

	"understudy/internal/text"
	understudyv1 "understudy/proto/understudy/v1"
)

// probing is the state of one worker's probes: at most one is under way.
type probing struct {
	timer  *time.Timer
	id     uint64
	waits  bool
	sentAt time.Time
	missed int // unanswered probes in a row
}

func (p *probing) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// sendProbe asks w for a sign of life; the answer, or its absence, comes back
// to probed or overdue.
func (k *Keeper) sendProbe(w *Worker) {
	w.probe.id++
	w.probe.waits = true
	w.probe.sentAt = time.Now()
	k.tell(w, &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Probe{Probe: &understudyv1.Probe{Id: w.probe.id}}})
	w.probe.timer = k.after(w.pool.manifest.Probe.Timeout, func() { k.overdue(w) })
}

// probed takes an answer. A late or repeated one counts for nothing.
func (k *Keeper) probed(w *Worker, r *understudyv1.ProbeResult) {
	if !w.probe.waits || r.Id != w.probe.id {
		return
	}
	w.probe.stop()
	w.probe.waits, w.probe.missed = false, 0
	if w.State == Draining || w.why.Kind != "" { // its end is bounded already
		return
	}
	if !r.Ok {
		k.fail(w, CauseUnhealthy, fmt.Errorf("probe failed: %s", text.Clip(r.Error, maxWords)))
		return
	}
	w.Healthy = true
	switch w.State {
	case Warming:
		k.warm(w)
	case Standby, Active:
	default:
		return
	}
	k.scheduleProbe(w)
}

func (k *Keeper) scheduleProbe(w *Worker) {
	if interval := w.pool.manifest.Probe.Interval; interval > 0 {
		w.probe.timer = k.after(interval, func() {
			if w.State == Standby || w.State == Active {
				k.sendProbe(w)
			}
		})
	}
}

// overdue ends a worker that gives no sign of life. While it warms up, the
// start deadline is what bounds it.
func (k *Keeper) overdue(w *Worker) {
	if !w.probe.waits || (w.State != Standby && w.State != Active) {
		return
	}
	w.Healthy = false
	if w.probe.missed++; w.State == Active && w.probe.missed < w.pool.manifest.Probe.Failures {
		k.sendProbe(w)
		return
	}
	k.fail(w, CauseHung, fmt.Errorf("no answer to a probe within %v", w.pool.manifest.Probe.Timeout))
}

// maxWords bounds a worker's own words in our errors, in bytes.
const maxWords = 512
