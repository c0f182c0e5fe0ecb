package pool

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"understudy/internal/event"
	"understudy/internal/loop/looptest"
	"understudy/patterns"
	"understudy/sentinel"
	"understudy/takeover"
	"understudy/worker"
)

// roleEnv says what a worker of these tests does; the test binary is its
// program too.
const roleEnv = "POOL_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		play(role)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// play is a worker that follows the protocol, or one that does not.
func play(role string) {
	if role == "good" {
		serve := func(ctx context.Context, _ *worker.Assignment) error { <-ctx.Done(); return nil }
		if err := worker.Run(context.Background(), worker.Pattern{Serve: serve}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	c, err := net.FileConn(os.NewFile(controlFD, "control"))
	if err != nil {
		panic(err)
	}
	os.NewFile(controlFD, "control").Close()
	say := func(datagrams ...string) {
		for _, d := range datagrams {
			if _, err := c.Write([]byte(d)); err != nil {
				fmt.Println("send:", err)
			}
		}
	}
	const ready = `{"ready":{"protocol":1}}`
	switch role {
	case "leaves strays":
		// One in a session of its own, whose parent has gone, and one below that.
		if err := exec.Command("/bin/sh", "-c", `setsid sh -c 'sleep 300 & echo $! $$; exec sleep 300' > "$0" &`, os.Getenv(strayEnv)).Run(); err != nil {
			fmt.Println(err)
		}
		say(ready)
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			say(`{"probeResult":{"id":"1","ok":true}}`)
		}
	case "closes at once":
		c.Close()
	case "closes after ready":
		say(ready)
		c.Close()
	case "says nonsense":
		say("hello")
	case "says what is no message":
		say(`{"steady":{}}`)
	case "says too much":
		say(`{"fatal":{"error":"` + strings.Repeat("x", 64<<10) + `"}}`)
	case "ready twice":
		say(ready, ready)
	case "of another time":
		say(`{"ready":{"protocol":2}}`)
	case "gives up again and again":
		for range 100 {
			say(`{"fatal":{"error":"no model"}}`)
		}
		os.Exit(1)
	case "gives up":
		say(`{"fatal":{"error":"no model"}}`)
		os.Exit(1)
	case "unhealthy":
		say(ready)
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			say(`{"probeResult":{"id":"1","ok":false,"error":"canary is dead"}}`)
		}
	case "healthy once":
		say(ready)
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			say(`{"probeResult":{"id":"1","ok":true}}`)
		}
	case "floods":
		for {
			if _, err := c.Write([]byte(`{"drained":{}}`)); err != nil {
				os.Exit(0)
			}
		}
	case "claims an heir":
		say(fmt.Sprintf(`{"ready":{"protocol":1,"heir_pid":%d}}`, claimed()))
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			say(`{"probeResult":{"id":"1","ok":true}}`)
		}
	case "exits":
		fmt.Println("cannot find my model")
		os.Exit(3)
	}
	select {} // alive, and out of our hands
}

// yard is a keeper with its loop, its engine and its reaper.
type yard struct {
	*Keeper
	loop   *looptest.Loop
	ready  chan *Worker
	failed chan *StartError
	exited chan string
	// engineHeirs is what the engine is told of heirs.
	engineHeirs chan heirTold
}

// heirTold is a word to the engine: the heir of a worker, 0 for none any more.
type heirTold struct {
	worker takeover.WorkerID
	pid    int
}

// listensIn is an engine whose commands are looked at.
type listensIn struct {
	Engine
	heirs chan heirTold
}

func (l listensIn) Heir(w takeover.WorkerID, pid, doomSocket int) error {
	l.heirs <- heirTold{w, pid}
	return l.Engine.Heir(w, pid, doomSocket)
}

func newYard(t *testing.T, cfg Config, manifests ...*patterns.Manifest) *yard {
	y := &yard{ready: make(chan *Worker, 256), failed: make(chan *StartError, 256), exited: make(chan string, 256)}
	reaper, err := sentinel.New(sentinel.Options{Source: sentinel.SourcePidfd})
	require.NoError(t, err)
	go func() { _ = reaper.Run(func() {}) }()
	var engine *takeover.Client
	t.Cleanup(func() {
		require.NoError(t, engine.Close())
		reaper.Close()
		<-reaper.Done()
	})
	y.loop = looptest.New(t)
	engine, err = takeover.Start(takeover.Options{}, func(e takeover.Event) {
		if e.Kind == takeover.Withdrawn {
			_ = y.loop.Post(func() { y.Withdrawn(e.Worker, e.OK) })
		}
	})
	require.NoError(t, err)
	cfg.MaxConcurrentStarts = 4
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	y.engineHeirs = make(chan heirTold, 256)
	y.Keeper = NewKeeper(cfg, y.loop.Loop, reaper, listensIn{engine, y.engineHeirs}, Hooks{
		Ready:       func(w *Worker) { y.ready <- w },
		Serving:     func(*Worker, string, uint64) {},
		Draining:    func(*Worker, string) {},
		Exited:      func(_ *Worker, cause Cause) { y.exited <- cause.String() },
		StartFailed: func(_ PoolKey, err *StartError) { y.failed <- err },
		Event:       func(event.Event) {},
	})
	y.loop.Start(y.Stop, y.Idle)
	y.do(func() {
		for _, m := range manifests {
			y.AddPool(PoolKey(m.Name), m)
		}
	})
	return y
}

// do runs f on the loop and waits for it.
func (y *yard) do(f func()) { y.loop.Do(f) }

func (y *yard) stats() (s Stats) {
	y.do(func() { s = y.Stats()[0] })
	return s
}

func next[T any](t *testing.T, from chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(30 * time.Second):
		t.Fatal("nothing happens")
	}
	return v
}

// role is the manifest of a pattern whose workers play it.
func role(name string) *patterns.Manifest {
	exe, _ := os.Executable()
	return &patterns.Manifest{Name: "a", Dir: filepath.Dir(exe), Program: exe, Contract: "sdk", Listen: "unix", Heir: true,
		Environment: map[string]string{roleEnv: name, "GORACE": "atexit_sleep_ms=0"},
		Spares:      patterns.Spares{Min: 1, Max: 1}, StartTimeout: 20 * time.Second, GracePeriod: 100 * time.Millisecond,
		Probe: patterns.Probe{Interval: 50 * time.Millisecond, Timeout: 300 * time.Millisecond}}
}

// never is a backoff after which no test starts anything.
var never = Config{BackoffMin: time.Hour, BackoffMax: time.Hour}
