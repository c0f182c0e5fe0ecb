package grpcworker

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestInside(t *testing.T) {
	l := newInside()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = c.Write([]byte("x"))
			c.Close()
		}
		served <- err
	}()
	c, err := l.dial(context.Background())
	require.NoError(t, err)
	defer c.Close()
	b := make([]byte, 2)
	n, err := c.Read(b)
	require.NoError(t, err)
	require.Equal(t, "x", string(b[:n]))
	require.NoError(t, <-served)

	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = l.dial(canceled)
	require.ErrorIs(t, err, context.Canceled, "nobody accepts")

	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = l.dial(context.Background())
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestRunRefusesNothingToServe(t *testing.T) {
	require.ErrorContains(t, Run(context.Background(), Options{}), "Register")
}
