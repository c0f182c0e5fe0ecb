package route_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"understudy/patterns/echo/echov1"
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
	net.Listener
	conn chan net.Conn
}

func (o *one) Accept() (net.Conn, error) {
	if c, ok := <-o.conn; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (o *one) Close() error { return nil }

// serveOne has a worker answer on one connection until the end of the test.
func (e *endpoint) serveOne(c net.Conn, epoch uint64) {
	l := &one{Listener: e.l, conn: make(chan net.Conn, 1)}
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
	// Now the server says what it has to say, and hears one acknowledgement.
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
