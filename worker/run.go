package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"understudy/internal/control"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/worker/heir"
)

// Protocol is the version of the control protocol that this SDK speaks.
const Protocol = 1

// defaultGrace bounds a stop that comes by SIGTERM, which names no time.
const defaultGrace = 5 * time.Second

// ErrNotSupervised: the program was started by hand.
var ErrNotSupervised = errors.New("not started by understudyd (UNDERSTUDY_CONTROL_FD is not set); " +
	"put its folder with a manifest.yaml below --patterns-dir, then run: understudy launch <pattern>")

// session is a worker's dealings with its supervisor.
type session struct {
	pattern Pattern
	conn    *control.Conn
	heir    *heir.Heir // nil without one
	grace   atomic.Int64

	activated chan *understudyv1.Activate
	listeners []net.Listener // set before activated is sent to
	probes    chan uint64
	stop      chan struct{} // drain, retire or SIGTERM
	stopOnce  sync.Once
	lost      chan struct{} // the supervisor is gone
	serving   atomic.Pointer[Assignment]
}

// Run is the life of a worker; main passes its error to the user and exits
// with 1, or with 0 on nil. Errors: ErrNotSupervised, what Warm or Serve
// returned, or a broken control protocol; the supervisor is told of them too.
func Run(ctx context.Context, p Pattern) error {
	s, config, err := open(p)
	if err != nil {
		return err
	}
	defer s.conn.Close()
	if err := s.run(ctx, config); err != nil {
		s.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Fatal{Fatal: &understudyv1.Fatal{Error: err.Error()}}})
		return err
	}
	return nil
}

func open(p Pattern) (*session, map[string]string, error) {
	control, err := inherited("UNDERSTUDY_CONTROL_FD")
	if err != nil {
		return nil, nil, err
	}
	if control == nil {
		return nil, nil, ErrNotSupervised
	}
	s := &session{pattern: p, activated: make(chan *understudyv1.Activate, 1),
		probes: make(chan uint64, 1), stop: make(chan struct{}), lost: make(chan struct{})}
	s.grace.Store(int64(defaultGrace))
	if s.conn, err = connect(control); err != nil {
		return nil, nil, err
	}
	fence, err := inherited("UNDERSTUDY_FENCE_FD")
	if err != nil {
		return nil, nil, err
	}
	if os.Getenv("UNDERSTUDY_NO_HEIR") == "" {
		// Without one the worker does its work all the same.
		s.heir, _ = heir.Start(fence)
	}
	config := map[string]string{}
	if c := os.Getenv("UNDERSTUDY_CONFIG"); c != "" {
		if err := json.Unmarshal([]byte(c), &config); err != nil {
			return nil, nil, fmt.Errorf("UNDERSTUDY_CONFIG: %w", err)
		}
	}
	return s, config, nil
}

func connect(f *os.File) (*control.Conn, error) {
	defer f.Close()
	return control.NewConn(f)
}

// inherited returns a descriptor named in the environment, or nil.
func inherited(name string) (*os.File, error) {
	v, ok := os.LookupEnv(name)
	if !ok {
		return nil, nil
	}
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is no descriptor", name, v)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return nil, fmt.Errorf("%s=%d: %w", name, fd, err)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name), nil
}

func (s *session) run(ctx context.Context, config map[string]string) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	defer signal.Stop(term)
	go s.receive()
	go s.answerProbes(ctx)

	warming, cancel := context.WithCancel(ctx)
	defer cancel()
	warm := make(chan error, 1)
	go func() {
		if s.pattern.Warm == nil {
			warm <- nil
			return
		}
		warm <- s.pattern.Warm(warming, config)
	}()
	select {
	case err := <-warm:
		if err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
	case <-term:
		return nil
	case <-s.stop:
		return nil
	case <-s.lost:
		return nil
	}
	ready := &understudyv1.Ready{Protocol: Protocol}
	if s.heir != nil {
		ready.HeirPid = int32(s.heir.Pid())
	}
	s.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Ready{Ready: ready}})

	select {
	case m := <-s.activated:
		return s.serve(ctx, m, term)
	case <-term:
		return nil
	case <-s.stop:
		return nil
	case <-s.lost: // a standby without a supervisor is of no use
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve runs the pattern's Serve until it is asked to stop. From here on the
// loss of the supervisor ends nothing.
func (s *session) serve(ctx context.Context, m *understudyv1.Activate, term <-chan os.Signal) error {
	a := assignment(m, s)
	a.Listeners = s.listeners
	s.serving.Store(a)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- s.pattern.Serve(ctx, a) }()
	select {
	case err := <-served:
		if err == nil {
			err = errors.New("returned without having been asked to stop")
		}
		return fmt.Errorf("serve %s: %w", a.ProcessID, err)
	case <-term:
	case <-s.stop:
	}
	cancel()
	for _, l := range a.Listeners {
		l.Close()
	}
	select {
	case <-served: // a closed listener is an error to most servers; not here
	case <-time.After(a.Grace()):
		return fmt.Errorf("serve %s: still busy after its grace period of %v", a.ProcessID, a.Grace())
	}
	s.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Drained{Drained: &understudyv1.Drained{}}})
	return nil
}

func (s *session) quit() { s.stopOnce.Do(func() { close(s.stop) }) }

// receive takes the supervisor's messages. Nothing in it waits for the
// pattern.
func (s *session) receive() {
	for {
		b, fds, err := s.conn.Recv()
		if err != nil {
			close(s.lost)
			return
		}
		m, err := control.DecodeToWorker(b)
		if err != nil { // from a supervisor newer than we are
			closeAll(fds)
			continue
		}
		if a := m.GetActivate(); a != nil {
			s.activate(a, fds)
			continue
		}
		closeAll(fds)
		switch m := m.Message.(type) {
		case *understudyv1.ToWorker_Probe:
			select {
			case s.probes <- m.Probe.Id:
			default: // one is under way and hangs: its silence is the answer
			}
		case *understudyv1.ToWorker_Drain:
			if m.Drain.GraceMs > 0 {
				s.grace.Store(int64(time.Duration(m.Drain.GraceMs) * time.Millisecond))
			}
			s.quit()
		case *understudyv1.ToWorker_Retire:
			s.quit()
		}
	}
}

func (s *session) activate(m *understudyv1.Activate, fds []int) {
	if s.listeners != nil {
		closeAll(fds)
		return // active already: a second assignment is not for us
	}
	var ls []net.Listener
	for i, fd := range fds {
		if i >= len(m.Listeners) { // segments
			unix.Close(fd)
			continue
		}
		l, err := s.listen(fd, func() { s.accepting(m) })
		if err != nil {
			s.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Fatal{
				Fatal: &understudyv1.Fatal{Error: fmt.Sprintf("listener %d: %v", i, err)}}})
			continue
		}
		ls = append(ls, l)
	}
	if len(ls) == 0 {
		return
	}
	s.listeners = ls
	s.activated <- m
}

// accepting tells the supervisor, at the first Accept, that we serve.
func (s *session) accepting(m *understudyv1.Activate) {
	s.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Active{
		Active: &understudyv1.Active{ProcessId: m.ProcessId, Epoch: m.Epoch}}})
}

func (s *session) answerProbes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.lost:
			return
		case id := <-s.probes:
			r := &understudyv1.ProbeResult{Id: id, Ok: true}
			if s.pattern.Probe != nil {
				if err := s.pattern.Probe(ctx); err != nil {
					r.Ok, r.Error = false, err.Error()
				}
			}
			if a := s.serving.Load(); a != nil {
				r.ProcessId, r.Epoch = a.ProcessID, a.Epoch
			}
			s.send(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_ProbeResult{ProbeResult: r}})
		}
	}
}

// send tells the supervisor. Where it is gone there is nobody to tell.
func (s *session) send(m proto.Message) {
	if b, err := control.Encode(m); err == nil {
		_ = s.conn.Send(b)
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
