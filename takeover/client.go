package takeover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// commandTimeout bounds how long a command may wait for room in the socket.
// The engine answers in microseconds; a second means that it is broken.
const commandTimeout = time.Second

// Plan is the next activation of a binding, ready to be sent.
type Plan struct {
	Binding BindingID
	// Guard is the worker whose death fires the plan; 0 fires it at once.
	Guard WorkerID
	Epoch uint64
	Pool  PoolID
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
}

// host is what runs the engine: a process, or a goroutine of this one.
type host interface {
	// wait blocks until the engine has ended and returns why.
	wait() error
	kill()
	pid() int
}

func newClient(socket *os.File, h host, handle func(Event)) (*Client, error) {
	conn, err := net.FileConn(socket)
	socket.Close()
	if err != nil {
		return nil, fmt.Errorf("takeover: command socket: %w", err)
	}
	c := &Client{conn: conn.(*net.UnixConn), host: h, done: make(chan struct{})}
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

// Watch makes a worker known: its process, its control socket, and the eventfd
// that wakes its heir (-1 for none). The descriptors are duplicated.
func (c *Client) Watch(w WorkerID, pid, pidfd, control, fence int) error {
	fds := []int{pidfd, control}
	if fence >= 0 {
		fds = append(fds, fence)
	}
	return c.send(command{op: opWatch, worker: w, pid: int32(pid)}, fds)
}

// Offer says that a worker is warm and may be taken from pool p. again: the
// engine should know already; the event Repaired comes if it did not.
func (c *Client) Offer(w WorkerID, p PoolID, again bool) error {
	o := opOffer
	if again {
		o = opReoffer
	}
	return c.send(command{op: o, worker: w, pool: p}, nil)
}

// Withdraw takes a standby back; the event Withdrawn says whether it was there.
func (c *Client) Withdraw(w WorkerID) error {
	return c.send(command{op: opWithdraw, worker: w}, nil)
}

// Arm prepares the next activation of a binding: when guard dies (or now, with
// guard 0), a standby of p gets payload and the descriptors, which are
// duplicated. epoch must be above every epoch that was activated for b. again
// is as with Offer.
func (c *Client) Arm(p Plan, again bool) error {
	o := opArm
	if again {
		o = opRearm
	}
	return c.send(command{op: o, binding: p.Binding, worker: p.Guard, epoch: p.Epoch, pool: p.Pool, payload: p.Payload}, p.Descriptors)
}

// Disarm forgets a binding; the event Disarmed comes after every Activated of
// it.
func (c *Client) Disarm(b BindingID) error { return c.send(command{op: opDisarm, binding: b}, nil) }

// Condemn kills a worker that hangs and activates its standby at once.
func (c *Client) Condemn(w WorkerID) error { return c.send(command{op: opCondemn, worker: w}, nil) }

// Forget drops a worker that was reaped.
func (c *Client) Forget(w WorkerID) error { return c.send(command{op: opForget, worker: w}, nil) }

// Ping asks for a Pong, and makes the engine flush what it could not send.
func (c *Client) Ping() error { return c.send(command{op: opPing}, nil) }

func (c *Client) send(cmd command, fds []int) error {
	c.buf = cmd.append(c.buf[:0])
	if len(c.buf) > maxCommand || len(fds) > maxFDs {
		return fmt.Errorf("takeover: command of %d bytes and %d descriptors is too large", len(c.buf), len(fds))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(commandTimeout))
	if _, _, err := c.conn.WriteMsgUnix(c.buf, rights, nil); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.host.kill() // else every further command would wait as long
		}
		if errors.Is(err, net.ErrClosed) || errors.Is(err, unix.EPIPE) {
			err = io.ErrClosedPipe
		}
		return fmt.Errorf("takeover: engine does not take commands: %w", err)
	}
	return nil
}
