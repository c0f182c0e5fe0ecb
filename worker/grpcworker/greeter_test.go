package grpcworker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
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
	"google.golang.org/grpc/status"
)

// rehearsed is a server that has had its rehearsal.
func rehearsed(t *testing.T, options ...grpc.ServerOption) *server {
	s, err := newServer(Options{Register: func(*grpc.Server) {}, Server: options, Probe: func(context.Context, grpc.ClientConnInterface) error { return nil }})
	require.NoError(t, err)
	t.Cleanup(s.close)
	require.NoError(t, s.warm(t.Context(), nil))
	l, err := net.Listen("unix", "")
	require.NoError(t, err)
	require.NoError(t, s.rehearse(t.Context(), l))
	return s
}

func TestConnectionsAreGreetedAtOnce(t *testing.T) {
	s := rehearsed(t)
	require.True(t, s.plain)
	l, err := net.Listen("unix", "")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(greeter{l}) }()
	defer func() { s.grpc.Stop(); require.NoError(t, <-served) }()

	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	for _, who := range []string{"the greeter", "the server"} {
		header := make([]byte, 9)
		_, err := io.ReadFull(c, header)
		require.NoError(t, err)
		require.Equal(t, byte(4), header[3], "settings of %s", who)
		require.Zero(t, header[4], "no acknowledgement")
		_, err = io.CopyN(io.Discard, c, int64(header[2]))
		require.NoError(t, err)
	}

	client, err := grpc.NewClient("passthrough:///greeter", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			return net.Dial(l.Addr().Network(), l.Addr().String())
		}))
	require.NoError(t, err)
	defer client.Close()
	for range 3 {
		require.NoError(t, askHealth(t.Context(), client))
	}
}

// Nobody is greeted in plain words where the server speaks TLS. One that refuses
// the rehearsal's calls has heard them.
func TestWhoIsGreeted(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	require.False(t, rehearsed(t, grpc.Creds(credentials.NewServerTLSFromCert(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}))).plain)
	require.True(t, rehearsed(t, grpc.UnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
		return nil, status.Error(codes.PermissionDenied, "not you")
	})).plain)
}
