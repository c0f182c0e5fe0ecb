package supervisor_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

// death is the end of a worker.
type death struct {
	pid       int
	processID string // "" of a standby
	message   string
	// killed is when we began to kill it, hung when the supervisor found it
	// hung; zero where that did not happen.
	killed, hung time.Time
	exited       time.Time // when we heard of its end
}

// from is when it began to die; zero where nobody did it.
func (d death) from() time.Time {
	if d.killed.IsZero() || !d.hung.IsZero() && d.hung.Before(d.killed) {
		return d.hung
	}
	return d.killed
}

// journal is what the daemon tells of its workers, beside what we did to them.
type journal struct {
	mu       sync.Mutex
	standbys []int
	killed   map[int]time.Time
	hung     map[int]time.Time
	deaths   []death
	missed   uint64
	seen     map[string]int // by kind
	heard    chan struct{}  // closed and replaced at each event
}

func keepJournal(t *testing.T, c service.SupervisorClient) *journal {
	ctx, cancel := context.WithCancel(context.Background())
	events, err := c.WatchEvents(ctx, &understudyv1.WatchEventsRequest{})
	require.NoError(t, err)
	_, err = events.Header() // from here on nothing is missed
	require.NoError(t, err)
	j := &journal{killed: map[int]time.Time{}, hung: map[int]time.Time{}, seen: map[string]int{}, heard: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			e, err := events.Recv()
			if err != nil {
				return
			}
			j.take(e)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return j
}

func (j *journal) take(e *understudyv1.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	pid := int(e.Pid)
	j.missed += e.DroppedBefore
	j.seen[e.Kind]++
	switch e.Kind {
	case "worker_started": // the number may have been another's
		delete(j.killed, pid)
		delete(j.hung, pid)
	case "worker_ready":
		j.standbys = append(j.standbys, pid)
	case "worker_hung":
		j.hung[pid] = e.Time.AsTime()
	case "launched", "failover", "worker_exited":
		j.standbys = slices.DeleteFunc(j.standbys, func(p int) bool { return p == pid })
	}
	if e.Kind == "worker_exited" {
		j.deaths = append(j.deaths, death{pid: pid, processID: e.ProcessId, message: e.Message,
			killed: j.killed[pid], hung: j.hung[pid], exited: time.Now()})
	}
	close(j.heard)
	j.heard = make(chan struct{})
}

// killing notes that we kill pid from now on.
func (j *journal) killing(pid int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.killed[pid].IsZero() {
		j.killed[pid] = time.Now()
	}
}

// anyStandby picks a standby that the daemon told of.
func (j *journal) anyStandby(r *rand.Rand) (pid int, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.standbys) == 0 {
		return 0, false
	}
	return j.standbys[r.IntN(len(j.standbys))], true
}

// count is how many events of a kind were told.
func (j *journal) count(kind string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seen[kind]
}

// until waits for n events of a kind.
func (j *journal) until(t *testing.T, kind string, n int) {
	t.Helper()
	late := time.After(patience)
	for {
		j.mu.Lock()
		seen, heard := j.seen[kind], j.heard
		j.mu.Unlock()
		if seen >= n {
			return
		}
		select {
		case <-heard:
		case <-late:
			t.Fatalf("%d events %s, %d wanted", seen, kind, n)
		}
	}
}
