package route_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"understudy/patterns/echo/echov1"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/route"
)

// inReserve waits until so many connections are in reserve.
func inReserve(t testing.TB, table *route.Table, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return table.Stats().InReserve == n }, patience, time.Millisecond)
}

// accepted is a connection of which a test plays the server.
type accepted struct {
	net.Conn
	t    testing.TB
	read bytes.Buffer // all that was read
}

func (e *endpoint) accepted() *accepted {
	c := accept(e.t, e)
	require.NoError(e.t, c.SetDeadline(time.Now().Add(patience)))
	return &accepted{Conn: c, t: e.t}
}

// The types of HTTP/2 frames that a test looks for (RFC 9113, 6).
const (
	headersFrame  = 1
	settingsFrame = 4
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func (a *accepted) take(n int) []byte {
	b := make([]byte, n)
	_, err := io.ReadFull(a, b)
	require.NoError(a.t, err)
	a.read.Write(b)
	return b
}

// frame reads one.
func (a *accepted) frame() (kind, flags byte) {
	head := a.take(9)
	a.take(int(binary.BigEndian.Uint32(append([]byte{0}, head[:3]...))))
	return head[3], head[4]
}

// hello reads what a client says first, and requires that it answers to no
// settings: none were sent.
func (a *accepted) hello() {
	require.Equal(a.t, preface, string(a.take(len(preface))))
	kind, flags := a.frame()
	require.EqualValues(a.t, settingsFrame, kind)
	require.Zero(a.t, flags)
}

// again is the connection with what was read of it already.
func (a *accepted) again() net.Conn { return &reread{a.Conn, io.MultiReader(&a.read, a.Conn)} }

type reread struct {
	net.Conn
	from io.Reader
}

func (r *reread) Read(p []byte) (int, error) { return r.from.Read(p) }

// one is a listener with one connection.
type one struct {
	conn    chan net.Conn
	address net.Addr
}

func (o *one) Addr() net.Addr { return o.address }

func (o *one) Accept() (net.Conn, error) {
	if c, ok := <-o.conn; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (o *one) Close() error { return nil }

// serveOne has a worker answer on one connection until the end of the test.
func (e *endpoint) serveOne(c net.Conn, epoch uint64) {
	l := &one{conn: make(chan net.Conn, 1), address: c.LocalAddr()}
	l.conn <- c
	s := grpc.NewServer()
	echov1.RegisterEchoServer(s, &worker{epoch: epoch, begun: make(chan struct{}, 1)})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	e.t.Cleanup(func() {
		close(l.conn)
		s.Stop()
		<-served
	})
}

// prepared is a client of an endpoint whose connection a test holds, and which
// has another in reserve.
func prepared(t testing.TB) (*endpoint, *route.Table, echov1.EchoClient, net.Conn) {
	e := newEndpoint(t)
	table := dialed(t, newSupervisor(t, at(active("a", 1), e.address())).target())
	_, c := client(t, table, echoA)
	first := accept(t, e)
	e.serveOne(first, 1)
	epoch, err := say(t, c, "")
	require.NoError(t, err)
	require.EqualValues(t, 1, epoch)
	inReserve(t, table, 1)
	return e, table, c, first
}

// A connection in reserve costs the server nothing. When the one in use ends, it
// comes by itself, and brings calls before the server has said anything.
func TestCallsGoThroughTheReserveAtOnce(t *testing.T) {
	e, table, c, first := prepared(t)
	require.NoError(t, e.l.SetDeadline(time.Now()))
	_, err := e.l.Accept()
	require.ErrorContains(t, err, "timeout", "nobody has connected")

	require.NoError(t, first.Close())
	next := e.accepted()
	next.hello()
	inReserve(t, table, 0)
	answered := make(chan uint64, 1)
	go func() {
		epoch, err := say(t, c, "")
		if err == nil {
			answered <- epoch
		}
		close(answered)
	}()
	kind, flags := next.frame()
	require.EqualValues(t, headersFrame, kind, "flags %x", flags)
	// Now the server says what it has to say.
	e.serveOne(next.again(), 2)
	require.EqualValues(t, 2, <-answered)
	inReserve(t, table, 1)
	epoch, err := say(t, c, "")
	require.NoError(t, err)
	require.EqualValues(t, 2, epoch)
}

// A worker that dies having accepted the reserve takes no call with it that was
// not sent yet.
func TestReserveThatIsAcceptedByTheDying(t *testing.T) {
	e, table, c, first := prepared(t)
	require.NoError(t, first.Close())
	for range 3 {
		next := e.accepted()
		next.hello()
		require.NoError(t, next.Close())
	}
	last := e.accepted()
	last.hello()
	// One that was sent may have been seen: it fails, and is not sent again.
	failed := make(chan error, 1)
	go func() {
		_, err := say(t, c, "")
		failed <- err
	}()
	kind, _ := last.frame()
	require.EqualValues(t, headersFrame, kind)
	require.NoError(t, last.Close())
	require.Equal(t, codes.Unavailable, status.Code(<-failed))

	e.serveOne(accept(t, e), 3)
	epoch, err := say(t, c, "")
	require.NoError(t, err)
	require.EqualValues(t, 3, epoch)
	inReserve(t, table, 1)
}

// A worker that leaves says so, and no call fails.
func TestReserveFollowsAWorkerThatLeaves(t *testing.T) {
	e := newEndpoint(t)
	table := dialed(t, newSupervisor(t, at(active("a", 1), e.address())).target())
	_, c := client(t, table, echoA)
	for epoch := uint64(1); epoch < 6; epoch++ {
		l := e.listener()
		s := grpc.NewServer()
		echov1.RegisterEchoServer(s, &worker{epoch: epoch})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		for answered := uint64(0); answered != epoch; { // the one before may be accepting still
			var err error
			answered, err = say(t, c, "")
			require.NoError(t, err)
		}
		inReserve(t, table, 1)
		s.GracefulStop()
		require.NoError(t, <-served)
	}
}

// The address ends, and the reserve with it.
func TestReserveEndsWithTheClient(t *testing.T) {
	e := newEndpoint(t)
	table := dialed(t, newSupervisor(t, at(active("a", 1), e.address())).target())
	e.worker(1)
	cc, _ := client(t, table, echoA)
	inReserve(t, table, 1)
	require.NoError(t, cc.Close())
	inReserve(t, table, 0)
}

// The connection in reserve can be turned off. Clients fail over all the same.
func TestWithoutReserve(t *testing.T) {
	retry, err := route.RetryPolicy(echov1.Echo_ServiceDesc.ServiceName)
	require.NoError(t, err)
	for name, opts := range map[string][]grpc.DialOption{
		"alone":               nil,
		"with a retry policy": {grpc.WithDefaultServiceConfig(retry)},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t)
			table := dialed(t, newSupervisor(t, at(active("a", 1), e.address())).target(), route.WithoutReserve())
			cc, echo := client(t, table, echoA, opts...)
			for range 3 {
				open := &tracker{Listener: e.listener(), conns: make(map[net.Conn]struct{})}
				s := grpc.NewServer()
				echov1.RegisterEchoServer(s, &worker{epoch: 1})
				served := make(chan error, 1)
				go func() { served <- s.Serve(open) }()
				require.Eventually(t, func() bool { // the first may find the end of the last connection
					_, err := echo.Say(within(t), &echov1.SayRequest{}, grpc.WaitForReady(true))
					return err == nil
				}, patience, time.Millisecond)
				require.Never(t, func() bool { return table.Stats().InReserve > 0 }, 20*reserveDelay, time.Millisecond)
				s.Stop()
				<-served
			}
			require.NoError(t, cc.Close())
		})
	}
}

// Nothing is in reserve where it could not work: behind TLS, and with another
// policy.
func TestNothingInReserve(t *testing.T) {
	e, secured := newEndpoint(t), newEndpoint(t)
	table := dialed(t, newSupervisor(t, at(active("a", 1), e.address()), at(active("b", 1), secured.address())).target())
	e.worker(1)
	certificate, roots := selfSigned(t)
	l := secured.listener()
	s := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	echov1.RegisterEchoServer(s, &worker{epoch: 1})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); require.NoError(t, <-served) })

	_, other := client(t, table, echoA, grpc.WithDefaultServiceConfig(`{}`))
	_, behindTLS := client(t, table, route.Key{Pattern: "echo", Namespace: "b"},
		grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, "localhost")))
	for _, c := range []echov1.EchoClient{other, behindTLS} {
		_, err := say(t, c, "")
		require.NoError(t, err)
	}
	_, c := client(t, table, echoA)
	_, err := say(t, c, "")
	require.NoError(t, err)
	inReserve(t, table, 1) // which began last
	for _, c := range []echov1.EchoClient{other, behindTLS} {
		_, err := say(t, c, "")
		require.NoError(t, err)
	}
	require.Equal(t, 1, table.Stats().InReserve)
}

// Where the policy meets addresses that are no routes, it connects to the first
// that answers.
func TestPolicyWithOtherAddresses(t *testing.T) {
	e := newEndpoint(t)
	e.worker(7)
	table := dialed(t, newSupervisor(t).target())
	addresses := manual.NewBuilderWithScheme("test")
	addresses.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: "unix:///nowhere/x.sock"}, {Addr: e.address()}}})
	policy, err := route.RetryPolicy("understudy.echo.v1.Echo")
	require.NoError(t, err)
	cc, err := grpc.NewClient("test:///", grpc.WithResolvers(addresses), table.DialOption(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(policy))
	require.NoError(t, err)
	defer cc.Close()
	epoch, err := say(t, echov1.NewEchoClient(cc), "")
	require.NoError(t, err)
	require.EqualValues(t, 7, epoch)
	require.Zero(t, table.Stats().InReserve)
}

// selfSigned is a certificate for localhost, and who trusts it.
func selfSigned(t testing.TB) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// A binding that ends and is launched again: calls fail in between, and wait
// while its first worker starts.
func TestCallsWaitForABindingThatIsBack(t *testing.T) {
	e := newEndpoint(t)
	r := at(active("a", 1), e.address())
	s := newSupervisor(t, r)
	table := dialed(t, s.target())
	_, c := client(t, table, echoA)
	e.serveOne(accept(t, e), 1)
	_, err := say(t, c, "")
	require.NoError(t, err)
	s.publish(gone(r, understudyv1.RouteReason_ROUTE_REASON_TERMINATE))
	require.Eventually(t, func() bool { _, err := say(t, c, ""); return status.Code(err) == codes.Unavailable }, patience, time.Millisecond)
	inReserve(t, table, 0)

	again := newEndpoint(t)
	s.publish(at(r, again.address()))
	waiting := accept(t, again) // nobody says anything
	answered := make(chan error, 1)
	go func() {
		_, err := say(t, c, "")
		answered <- err
	}()
	select {
	case err := <-answered:
		require.FailNow(t, "the call did not wait", err)
	case <-time.After(20 * time.Millisecond): // it would have failed at once
	}
	again.serveOne(waiting, 1)
	require.NoError(t, <-answered)
}

func TestReserveOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e := &endpoint{t: t}
	accepted := make(chan net.Conn, 16)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	table := dialed(t, newSupervisor(t, at(active("a", 1), l.Addr().String())).target())
	_, c := client(t, table, echoA)
	for epoch := uint64(1); epoch < 4; epoch++ {
		conn := <-accepted
		e.serveOne(conn, epoch)
		var from peer.Peer
		r, err := c.Say(within(t), &echov1.SayRequest{}, grpc.Peer(&from))
		require.NoError(t, err)
		require.Equal(t, epoch, r.Epoch)
		require.IsType(t, &net.TCPAddr{}, from.Addr)
		require.Equal(t, l.Addr().String(), from.Addr.String())
		inReserve(t, table, 1)
		conn.Close()
	}
	l.Close()
	for c := range accepted {
		c.Close()
	}
}

// Connections end in every rhythm, and workers leave: no call hangs, none fails
// otherwise than with UNAVAILABLE, and in the end there is one connection.
func TestConnectionsEndInEveryRhythm(t *testing.T) {
	e := newEndpoint(t)
	table := dialed(t, newSupervisor(t, at(active("a", 1), e.address())).target())
	cc, _ := client(t, table, echoA)
	const rounds = 300
	open := &tracker{Listener: e.listener(), conns: make(map[net.Conn]struct{})}
	var s *grpc.Server
	served := make(chan error, 1)
	serve := func() {
		s = grpc.NewServer()
		echov1.RegisterEchoServer(s, &worker{epoch: 1})
		go func(s *grpc.Server) { served <- s.Serve(open) }(s)
	}
	serve()

	ctx, stop := context.WithCancel(context.Background())
	var answers atomic.Int64
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				_, err := say(t, echov1.NewEchoClient(cc), "")
				if err == nil {
					answers.Add(1)
				} else if status.Code(err) != codes.Unavailable {
					t.Errorf("a call ends with %v", err)
				}
			}
		})
	}
	for i := range rounds {
		rhythm(t, table, &answers)
		if i%5 == 4 {
			s.GracefulStop() // which closes open
			<-served
			open.Listener = e.listener()
			serve()
			continue
		}
		open.closeAll()
	}
	stop()
	callers.Wait()
	inReserve(t, table, 1)
	_, err := say(t, echov1.NewEchoClient(cc), "")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return open.count() == 1 }, patience, time.Millisecond, "connections are left over")
	require.Greater(t, answers.Load(), int64(rounds))
	s.Stop()
	<-served
}

// rhythm waits for nothing, for some answers, or until a connection is in reserve,
// as it happens.
func rhythm(t *testing.T, table *route.Table, answers *atomic.Int64) {
	t.Helper()
	switch mathrand.IntN(3) {
	case 1:
		want := answers.Load() + 1 + mathrand.Int64N(20)
		require.Eventually(t, func() bool { return answers.Load() >= want }, patience, 100*time.Microsecond)
	case 2:
		inReserve(t, table, 1)
	}
}

// reserveDelay is the policy's.
const reserveDelay = 5 * time.Millisecond

// tracker is a listener that knows which of its connections are open.
type tracker struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (l *tracker) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &trackedConn{c, l}
	l.conns[t] = struct{}{}
	return t, nil
}

func (l *tracker) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *tracker) closeAll() {
	l.mu.Lock()
	all := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

type trackedConn struct {
	net.Conn
	from *tracker
}

func (c *trackedConn) Close() error {
	c.from.mu.Lock()
	delete(c.from.conns, c)
	c.from.mu.Unlock()
	return c.Conn.Close()
}
