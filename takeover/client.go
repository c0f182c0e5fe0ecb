package takeover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
)

// commandTimeout bounds how long a command may wait for room in the socket.
// The engine answers in microseconds; a second means that it is broken.
const commandTimeout = time.Second

// Plan is the next activation of a binding, ready to be sent.
type Plan struct {
	Binding BindingID
	// Guard is the worker whose death fires the plan; 0 fires it at once.
	Guard WorkerID
	// GuardDead: the guard was reaped, so the plan fires at once and Guard is
	// only told in its events. Without it an unknown guard is Rejected.
	GuardDead bool
	Epoch     uint64
	Pool      PoolID
	// Reserve is how many standbys of the pool the plan leaves to others: it
	// takes one only if more than that stand by. Plans that wait with less
	// reserve go first.
	Reserve int
	// Payload is the encoded activation, Descriptors what goes beside it.
	Payload     []byte
	Descriptors []int
}

// Client is the supervisor's end of an engine. Its methods are for one
// goroutine; each is one datagram, carried out in the order sent. An error
// means that the engine is gone: start another and tell it everything again.
type Client struct {
	conn *net.UnixConn
	host host
	buf  []byte
	done chan struct{}
	// asked is Options.Asked, or nil.
	asked func()
}

// host is what runs the engine: a process, or a goroutine of this one.
type host interface {
	// wait blocks until the engine has ended and returns why.
	wait() error
	kill()
	pid() int
}

func newClient(socket *os.File, h host, asked func(), handle func(Event)) (*Client, error) {
	conn, err := net.FileConn(socket)
	socket.Close()
	if err != nil {
		return nil, fmt.Errorf("takeover: command socket: %w", err)
	}
	c := &Client{conn: conn.(*net.UnixConn), host: h, asked: asked, done: make(chan struct{})}
	go c.read(handle)
	return c, nil
}

// read passes events on, in order, until the engine is gone.
func (c *Client) read(handle func(Event)) {
	defer close(c.done)
	buf := make([]byte, maxCommand)
	for {
		n, err := c.conn.Read(buf)
		if err != nil || n == 0 {
			return
		}
		if e, err := parseEvent(buf[:n]); err == nil {
			handle(e)
		}
	}
}

// Done is closed when the engine has ended and its last event was handled.
func (c *Client) Done() <-chan struct{} { return c.done }

// Pid is the engine's process, this one's where it runs inside it.
func (c *Client) Pid() int { return c.host.pid() }

// Kill ends an engine that does not answer.
func (c *Client) Kill() { c.host.kill() }

// closeTimeout is how long an engine may take to end.
const closeTimeout = 2 * time.Second

// Close ends the engine and waits for it; one that hangs is killed. Workers
// are left as they are.
func (c *Client) Close() error {
	c.conn.Close()
	<-c.done
	defer time.AfterFunc(closeTimeout, c.host.kill).Stop()
	return c.host.wait()
}

// Watch makes a worker known: its process, its control socket, and its
// cgroup.procs (-1 for none), from which the engine knows what it forked. The
// descriptors are duplicated.
func (c *Client) Watch(w WorkerID, pid, pidfd, control, procs int) error {
	fds := []int{pidfd, control}
	if procs >= 0 {
		fds = append(fds, procs)
	}
	return c.send(command{op: OpWatch, worker: w, pid: int32(pid)}, fds)
}

// Heir says that a watched worker has told of its heir: the heir's pid, and our
// end of the datagram socket pair that wakes it, which is duplicated. Without
// it a worker counts as having none; so it does again after a doomSocket of -1.
func (c *Client) Heir(w WorkerID, pid, doomSocket int) error {
	var fds []int
	if doomSocket >= 0 {
		fds = []int{doomSocket}
	}
	return c.send(command{op: OpHeir, worker: w, pid: int32(pid)}, fds)
}

// Offer says that a worker is warm and may be taken from pool p. again: the
// engine should know already; the event Repaired comes if it did not.
func (c *Client) Offer(w WorkerID, p PoolID, again bool) error {
	return c.send(command{op: OpOffer, flags: againFlag(again), worker: w, pool: p}, nil)
}

// Withdraw takes a standby back; the event Withdrawn says whether it was there.
func (c *Client) Withdraw(w WorkerID) error {
	return c.send(command{op: OpWithdraw, worker: w}, nil)
}

// Arm prepares the next activation of a binding: when guard dies (or now, with
// guard 0), a standby of p gets payload and the descriptors, which are
// duplicated. epoch must be above every epoch that was activated for b. again
// is as with Offer.
func (c *Client) Arm(p Plan, again bool) error {
	flags := againFlag(again)
	if p.GuardDead {
		flags |= flagGuardDead
	}
	return c.send(command{op: OpArm, flags: flags, binding: p.Binding, worker: p.Guard, epoch: p.Epoch, pool: p.Pool,
		reserve: uint32(p.Reserve), payload: p.Payload}, p.Descriptors)
}

func againFlag(again bool) uint8 {
	if again {
		return flagAgain
	}
	return 0
}

// Handover fires the plan that w guards though w is well, who stays so. It is
// Rejected if w guards none.
func (c *Client) Handover(w WorkerID) error {
	return c.send(command{op: OpHandover, worker: w}, nil)
}

// Disarm forgets a binding; the event Disarmed comes after every Activated of
// it.
func (c *Client) Disarm(b BindingID) error { return c.send(command{op: OpDisarm, binding: b}, nil) }

// Condemn kills a worker that hangs and activates its standby at once.
func (c *Client) Condemn(w WorkerID) error { return c.send(command{op: OpCondemn, worker: w}, nil) }

// Forget drops a worker that was reaped.
func (c *Client) Forget(w WorkerID) error { return c.send(command{op: OpForget, worker: w}, nil) }

// Ping asks for a Pong, and makes the engine flush what it could not send, and
// tell the activations again that were followed by no plan.
func (c *Client) Ping() error { return c.send(command{op: OpPing}, nil) }

func (c *Client) send(cmd command, fds []int) error {
	cmd.fds = uint32(len(fds))
	c.buf = cmd.append(c.buf[:0])
	if len(c.buf) > maxCommand || len(fds) > maxFDs {
		return fmt.Errorf("takeover: command of %d bytes and %d descriptors is too large", len(c.buf), len(fds))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(commandTimeout))
	if err := c.write(rights); err != nil {
		c.host.kill() // who missed a command must not go on
		if errors.Is(err, net.ErrClosed) || errors.Is(err, unix.EPIPE) {
			err = io.ErrClosedPipe
		}
		return fmt.Errorf("takeover: engine does not take commands: %w", err)
	}
	if c.asked != nil && cmd.answered() {
		c.asked()
	}
	return nil
}

const (
	// sendTries is how often a command is sent that the kernel has no memory or
	// no room for descriptors for, and sendPause the time between two tries: room
	// comes when the engine reads (unix(7), ETOOMANYREFS).
	sendTries = 20
	sendPause = time.Millisecond
)

// write sends the command in c.buf.
func (c *Client) write(rights []byte) (err error) {
	for range sendTries {
		if err = fault.Error(fault.ClientSend); err == nil {
			_, _, err = c.conn.WriteMsgUnix(c.buf, rights, nil)
		}
		switch {
		case errors.Is(err, unix.ETOOMANYREFS), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
			time.Sleep(sendPause) // nobody tells when there is room again
		default:
			return err
		}
	}
	return err
}
