package worker_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the worker accepts is cut at the fence, by the heir; what it has closed
// is not its business any more, even if the number is in use again.
func TestConnectionsAreKnownToTheHeir(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			e := listenOn(t, network)
			s := lines(t, nil).ready()
			if s.heir == 0 {
				t.Skip("no heir here:", s.output)
			}
			s.activate(e, nil).active()
			c := e.dial(t)
			require.NotEmpty(t, ask(t, c, "hello"))
			closed := e.dial(t)
			_, err := fmt.Fprintln(closed, "reuse")
			require.NoError(t, err)
			_, err = closed.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)

			_, err = s.fence.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0})
			require.NoError(t, err)
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			p := s.probe(1)
			require.True(t, p.Ok, p.Error)
		})
	}
}
