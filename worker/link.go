package worker

import (
	"errors"
	"log/slog"

	"golang.org/x/sys/unix"

	"understudy/internal/control"
	"understudy/internal/fdpass"
	"understudy/internal/pace"
	understudyv1 "understudy/proto/understudy/v1"
)

// link is the control socket: a goroutine that reads and takes no part in
// anything else, and sends that never wait.
type link struct {
	conn   *control.Conn
	log    *slog.Logger
	decode func([]byte) (*understudyv1.ToWorker, error)
	// in is closed at the end of the connection.
	in   chan incoming
	done chan struct{} // nobody takes from in any more
	read chan struct{} // the reader has ended
}

// incoming is one message, or why it is none.
type incoming struct {
	message *understudyv1.ToWorker
	fds     []int
	err     error
}

func newLink(c *control.Conn, log *slog.Logger, s pace.Switches) *link {
	l := &link{conn: c, log: log, decode: control.DecodeToWorker, in: make(chan incoming), done: make(chan struct{}), read: make(chan struct{})}
	if s.On(pace.FastParser) {
		l.decode = control.DecodeToWorkerFast
	}
	go l.reader()
	return l
}

func (l *link) reader() {
	defer close(l.read)
	defer close(l.in)
	for {
		var in incoming
		var b []byte
		b, in.fds, in.err = l.conn.Recv()
		switch {
		case in.err == nil:
			in.message, in.err = l.decode(b)
		case errors.Is(in.err, control.ErrEmpty), errors.Is(in.err, control.ErrOversized), errors.Is(in.err, control.ErrTruncatedFDs):
		default:
			return
		}
		select {
		case l.in <- in:
		case <-l.done:
			fdpass.CloseAll(in.fds)
			return
		}
	}
}

// send sends the supervisor a message. A message that cannot be sent is lost:
// the supervisor has deadlines for all that it expects.
func (l *link) send(m *understudyv1.FromWorker) {
	b, err := control.Encode(m)
	if err == nil {
		err = l.conn.Send(b)
	}
	if err != nil && !errors.Is(err, unix.EPIPE) {
		l.log.Warn("message to the supervisor is lost", "error", err)
	}
}

func (l *link) close() {
	close(l.done)
	l.conn.Close()
	<-l.read
}
