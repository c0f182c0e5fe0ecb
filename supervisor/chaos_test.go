package supervisor_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"understudy/patterns/echo/echov1"
	understudyv1 "understudy/proto/understudy/v1"
)

var (
	chaosTime = flag.Duration("chaos.time", 8*time.Second, "how long TestChaos kills")
	chaosSeed = flag.Uint64("chaos.seed", 0, "seed of what is killed next; 0 takes another each time")
)

// way is one way to kill a worker.
type way struct {
	standby bool
	signal  unix.Signal     // from outside
	crash   echov1.CrashWay // from inside, where signal is 0
}

func (w way) String() string {
	who := "active"
	if w.standby {
		who = "standby"
	}
	if w.signal != 0 {
		return fmt.Sprintf("%s by %v", who, unix.SignalName(w.signal))
	}
	return fmt.Sprintf("%s by %v", who, w.crash)
}

// everyWay is what the echo pattern knows, and what anybody can do from outside.
func everyWay() (all []way) {
	for n := range echov1.CrashWay_name {
		if n != 0 {
			all = append(all, way{crash: echov1.CrashWay(n)})
		}
	}
	slices.SortFunc(all, func(a, b way) int { return int(a.crash - b.crash) }) // a seed gives one order
	for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGSEGV, unix.SIGSTOP} {
		all = append(all, way{signal: sig}, way{standby: true, signal: sig})
	}
	return all
}

// killer kills random workers of a daemon.
type killer struct {
	*daemon
	random  *rand.Rand
	tenants []*tenant
	calls   sync.WaitGroup
}

// newKiller seeds its choices and says with what.
func newKiller(d *daemon, tenants ...*tenant) *killer {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	d.t.Logf("again with -chaos.seed=%d", seed)
	return &killer{daemon: d, random: rand.New(rand.NewPCG(seed, 0)), tenants: tenants}
}

// strike kills some worker in way w; it reports whether there was one.
func (k *killer) strike(w way) bool {
	tn := k.tenants[k.random.IntN(len(k.tenants))]
	switch {
	case w.standby:
		pid, ok := k.journal.anyStandby(k.random)
		return ok && k.hit(pid, w.signal)
	case w.signal != 0:
		b, err := k.supervisor.GetBinding(k.ctx(), &understudyv1.GetBindingRequest{ProcessId: tn.processID})
		return err == nil && b.Pid != 0 && k.hit(int(b.Pid), w.signal)
	}
	return k.crash(tn, w.crash)
}

func (k *killer) hit(pid int, sig unix.Signal) bool {
	k.journal.killing(pid)
	return k.signal(pid, sig) == nil
}

// crash asks a tenant's worker to die. The worker that is asked is the one
// whose pid is noted: the channel connects once.
func (k *killer) crash(tn *tenant, way echov1.CrashWay) bool {
	conn := tn.once()
	echo := echov1.NewEchoClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r, err := echo.Say(ctx, &echov1.SayRequest{})
	if err != nil {
		cancel()
		conn.Close()
		return false
	}
	k.journal.killing(int(r.Pid))
	k.calls.Go(func() { // where the worker hangs, so does the call
		defer conn.Close()
		defer cancel()
		_, _ = echo.Crash(ctx, &echov1.CrashRequest{Way: way}, grpc.WaitForReady(false))
	})
	return true
}

// settle waits until every death of the killer's doing is done with.
func (k *killer) settle() {
	k.t.Helper()
	k.calls.Wait()
	k.eventually(func() error {
		k.journal.mu.Lock()
		defer k.journal.mu.Unlock()
		for pid := range k.journal.killed {
			if p, ok := stat(pid); ok && p.parent == k.pid() {
				return fmt.Errorf("was killed and lives: %v", p)
			}
		}
		return nil
	})
}

// chaosManifests are two patterns whose hung workers are noticed soon.
func chaosManifests(t *testing.T, spares int) map[string]string {
	manifests := map[string]string{}
	for _, listen := range []string{"unix", "tcp"} {
		manifests["echo-"+listen] = echoManifest(t, "echo-"+listen, fmt.Sprintf(
			"listen: %s\nspares: {min: %d, max: %d}\nprobe: {interval: 100ms, timeout: 300ms}", listen, spares, spares))
	}
	return manifests
}

// settleIn launches three tenants of one pattern and two of the other.
func settleIn(d *daemon) (tenants []*tenant) {
	for pattern, namespaces := range map[string][]string{"echo-unix": {"acme", "globex", "initech"}, "echo-tcp": {"acme", "globex"}} {
		for _, namespace := range namespaces {
			r := d.launch(pattern, namespace)
			tenants = append(tenants, newTenant(d.t, r.ProcessId, r.Address))
		}
	}
	slices.SortFunc(tenants, func(a, b *tenant) int { return len(a.processID+a.address) - len(b.processID+b.address) })
	return tenants
}

// account checks what all clients saw, and that nobody died but by us or by
// being found hung.
func (k *killer) account() {
	k.journal.mu.Lock()
	deaths := slices.Clone(k.journal.deaths)
	missed := k.journal.missed
	k.journal.mu.Unlock()
	require.Zero(k.t, missed, "the journal has gaps")
	var failed, answered int64
	for _, tn := range k.tenants {
		tn.answers()
		tn.account(deaths)
		failed += int64(len(tn.failed))
		answered += tn.answered.Load()
	}
	suspected := 0
	for _, d := range deaths {
		switch {
		case d.processID == "" && d.message == "exited with code 0": // one spare too many, retired
		case d.from().IsZero():
			k.t.Errorf("worker %d of %q died by nobody's hand: %s", d.pid, d.processID, d.message)
		case d.killed.IsZero():
			suspected++
			k.t.Logf("worker %d of %q was found hung: %s", d.pid, d.processID, d.message)
		}
	}
	k.t.Logf("%d deaths (%d of them by suspicion), %d requests answered, %d cut", len(deaths), suspected, answered, failed)
}

func TestChaos(t *testing.T) {
	const spares = 2
	d := startDaemon(t, chaosManifests(t, spares))
	k := newKiller(d, settleIn(d)...)
	was := d.settled(len(k.tenants) + 2*spares)
	clients := startLoad(t, k.tenants)

	ways := everyWay()
	struck := map[way]int{}
	end := time.After(*chaosTime)
	for over := false; !over; {
		k.random.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
		for _, w := range ways {
			if k.strike(w) {
				struck[w]++
			}
			select {
			case <-end:
				over = true
			case <-time.After(time.Duration(k.random.Int64N(int64(250 * time.Millisecond)))):
			}
			if over {
				break
			}
		}
	}
	k.settle()
	d.returnsTo(was)
	clients.end()
	k.account()
	d.returnsTo(was)
	for _, w := range everyWay() {
		require.NotZero(t, struck[w], "nobody was killed: %v; -chaos.time is too short", w)
	}
	s, err := d.supervisor.GetStatus(d.ctx(), &understudyv1.GetStatusRequest{})
	require.NoError(t, err)
	require.Zero(t, s.ReconcileRepairs)
	d.stopClean()
}
