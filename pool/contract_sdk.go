package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"understudy/internal/control"
	"understudy/internal/fault"
	"understudy/internal/fdpass"
	"understudy/internal/pace"
	"understudy/internal/text"
	"understudy/patterns"
	understudyv1 "understudy/proto/understudy/v1"
)

// Descriptors of a worker, as docs/PROTOCOL.md promises them.
const (
	controlFD = 3
	doomFD    = 4
)

// maxWords bounds a worker's own words in our errors, in bytes.
const maxWords = 512

// passedThrough is what a worker inherits of our environment: nothing else of
// ours is its business.
var passedThrough = []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// sdk is the contract of programs that speak the control protocol
// (docs/PROTOCOL.md), over a socket pair.
type sdk struct{}

func (sdk) prepare(m *patterns.Manifest, name string, s surroundings) (*spawnSpec, error) {
	spec := &spawnSpec{env: environment(m, name, s)}
	if err := connect(spec, m.Heir); err != nil {
		for _, f := range spec.files {
			f.Close()
		}
		if spec.link != nil {
			spec.link.close()
		}
		return nil, err
	}
	return spec, nil
}

// connect makes a worker's sockets.
func connect(spec *spawnSpec, heir bool) error {
	ours, theirs, err := control.Pair()
	if err != nil {
		return err
	}
	spec.files = append(spec.files, theirs)
	l := &sdkLink{raw: ours}
	if l.conn, err = control.NewConn(ours); err != nil {
		ours.Close()
		return err
	}
	spec.link = l
	if !heir {
		return nil
	}
	if err := fault.Error(fault.SpawnDoom); err != nil {
		return fmt.Errorf("doom socket: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("doom socket: %w", err)
	}
	// Each end has flags and a queue of its own, so nothing that the worker
	// does to its end holds up the engine. Ours is a file that blocks: the
	// runtime would poll another, and wake us for what a worker sends. A
	// datagram socket, since the supervisor's end tells the heir nothing.
	_ = fdpass.Refuse(pair[0]) // nobody reads it, so descriptors would stay in it
	spec.doom = os.NewFile(uintptr(pair[0]), "doom socket")
	spec.files = append(spec.files, os.NewFile(uintptr(pair[1]), "doom socket"))
	return nil
}

func (sdk) activation(a Activation) ([]byte, error) {
	segments := make([]*understudyv1.Segment, 0, len(a.Segments))
	for _, s := range a.Segments {
		segments = append(segments, &understudyv1.Segment{Name: s.Name, Size: s.Size, Path: s.Path})
	}
	return control.Encode(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Activate{Activate: &understudyv1.Activate{
		ProcessId: a.ProcessID,
		Pattern:   a.Pattern,
		Epoch:     a.Epoch,
		Key:       &understudyv1.Key{Region: a.Region, Namespace: a.Namespace, Session: a.Session, Level: a.Level},
		Config:    a.Config,
		Listeners: []*understudyv1.Listener{{Name: "main", Network: a.Network, Address: a.Address}},
		Segments:  segments,
		Takeover:  a.Takeover,
	}}})
}

// sdkLink is one worker's control socket.
type sdkLink struct {
	raw  *os.File // for the engine to duplicate
	conn *control.Conn

	mu      sync.Mutex
	waiting []func() // for whatever has come
	ended   bool
}

func (l *sdkLink) socket() *os.File { return l.raw }

func (l *sdkLink) listen(say func(said)) {
	defer l.end()
	messages, slowed := rate.NewLimiter(messageRate, messageBurst), 0
	for {
		// Read slower, not to drop: then the worker waits.
		switch {
		case !messages.Allow():
			if slowed++; slowed > maxSlowed {
				say(said{kind: saidFlood, err: fmt.Errorf("sent more than %d messages a second for long", messageRate)})
				return
			}
			_ = messages.Wait(context.Background())
		case messages.Tokens() > messageBurst/2:
			slowed = 0
		}
		b, fds, err := l.conn.Recv()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if !l.readAll(say) {
				return
			}
			continue
		}
		if !pass(b, fds, err, say) {
			return
		}
	}
}

const (
	// messageRate and messageBurst bound how many messages are read of a worker,
	// in messages a second. One that behaves sends one for each probe and few
	// others.
	messageRate  = 200
	messageBurst = 1000
	// maxSlowed is after how many messages that had to wait a worker fails.
	maxSlowed = 500
)

// maxCatchUp bounds what is read before a worker is judged, in messages. More
// than a socket holds.
const maxCatchUp = 1 << 10

// readAll passes on what has come, and tells those who wait for that. It
// reports false when the connection has ended.
func (l *sdkLink) readAll(say func(said)) bool {
	done := l.take()
	defer func() {
		for _, f := range done {
			f()
		}
	}()
	for range maxCatchUp {
		b, fds, err := l.conn.TryRecv()
		if errors.Is(err, control.ErrNone) {
			return true
		}
		if !pass(b, fds, err, say) {
			return false
		}
	}
	return true
}

func (l *sdkLink) catchUp(done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		go done()
		return
	}
	l.waiting = append(l.waiting, done)
	_ = l.conn.SetDeadline(time.Unix(1, 0)) // ends Recv; a closed connection has ended it
}

// take returns those who wait, and lets Recv wait again.
func (l *sdkLink) take() []func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.SetDeadline(time.Time{})
	done := l.waiting
	l.waiting = nil
	return done
}

func (l *sdkLink) end() {
	l.mu.Lock()
	l.ended = true
	done := l.waiting
	l.mu.Unlock()
	for _, f := range done {
		f()
	}
}

// pass passes on one message, and reports false where it was the last word.
func pass(b []byte, fds []int, err error, say func(said)) bool {
	for _, fd := range fds { // workers have nothing to pass
		unix.Close(fd)
	}
	var m *understudyv1.FromWorker
	if err == nil {
		m, err = control.DecodeFromWorker(b)
	}
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed):
		say(said{kind: saidLost})
		return false
	case err != nil:
		say(said{kind: saidLost, err: fmt.Errorf("control socket: %w", err)})
		return false
	}
	say(meaning(m))
	return true
}

// meaning is what a message says, whatever its form.
func meaning(m *understudyv1.FromWorker) said {
	switch m := m.Message.(type) {
	case *understudyv1.FromWorker_Ready:
		w := said{kind: saidReady, heir: int(m.Ready.HeirPid)}
		if m.Ready.Protocol != 1 {
			w.err = fmt.Errorf("speaks control protocol %d; this supervisor speaks 1", m.Ready.Protocol)
		}
		return w
	case *understudyv1.FromWorker_ProbeResult:
		w := said{kind: saidAnswer, id: m.ProbeResult.Id, processID: m.ProbeResult.ProcessId, epoch: m.ProbeResult.Epoch}
		if !m.ProbeResult.Ok {
			w.err = fmt.Errorf("probe failed: %s", text.Clip(m.ProbeResult.Error, maxWords))
		}
		return w
	case *understudyv1.FromWorker_Active:
		return said{kind: saidServing, processID: m.Active.ProcessId, epoch: m.Active.Epoch}
	case *understudyv1.FromWorker_Draining:
		return said{kind: saidDraining, err: errors.New(text.Clip(m.Draining.Reason, maxWords))}
	case *understudyv1.FromWorker_Drained:
		return said{kind: saidDrained}
	case *understudyv1.FromWorker_Fatal:
		return said{kind: saidFatal, err: fmt.Errorf("worker gave up: %s", text.Clip(m.Fatal.Error, maxWords))}
	}
	return said{kind: saidLost, err: control.ErrUnknown} // a kind that is new here
}

func (l *sdkLink) probe(id uint64) error {
	return l.send(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Probe{Probe: &understudyv1.Probe{Id: id}}})
}

func (l *sdkLink) drain(grace time.Duration) error {
	return l.send(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Drain{Drain: &understudyv1.Drain{GraceMs: grace.Milliseconds()}}})
}

func (l *sdkLink) retire() error {
	return l.send(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Retire{Retire: &understudyv1.Retire{}}})
}

func (l *sdkLink) send(m *understudyv1.ToWorker) error {
	b, err := control.Encode(m)
	if err != nil {
		return err
	}
	return l.conn.Send(b)
}

func (l *sdkLink) close() {
	l.conn.Close()
	l.raw.Close()
}

// environment is what a worker gets, by name, each name once: programs differ in
// which of two they take. The manifest wins over what is passed through; a
// manifest cannot name a variable of ours (package patterns).
func environment(m *patterns.Manifest, name string, s surroundings) []string {
	config, _ := json.Marshal(m.Config) // a map of strings always encodes
	env := make(map[string]string)
	for _, k := range passedThrough {
		if v, ok := os.LookupEnv(k); ok {
			env[k] = v
		}
	}
	maps.Copy(env, m.Environment)
	env["UNDERSTUDY_CONTROL_FD"] = strconv.Itoa(controlFD)
	env["UNDERSTUDY_PATTERN"] = m.Name
	env[workerVariable] = name
	env["UNDERSTUDY_CONFIG"] = string(config)
	if s.instance != "" {
		env["UNDERSTUDY_INSTANCE"] = s.instance
	}
	if off := s.pace.String(); off != "" {
		env[pace.Variable] = off
	}
	if m.Heir {
		env["UNDERSTUDY_FENCE_FD"] = strconv.Itoa(doomFD)
	}
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}
