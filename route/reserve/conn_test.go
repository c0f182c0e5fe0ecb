package reserve

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/h2"
)

func TestWithoutAck(t *testing.T) {
	const (
		settings = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x01\x00\x00"
		window   = "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x01\x00\x00"
		ack      = "\x00\x00\x00\x04\x01\x00\x00\x00\x00"
		headers  = "\x00\x00\x02\x01\x05\x00\x00\x00\x01ab"
	)
	for _, tt := range []struct {
		name   string
		writes []string
		out    string
		calls  string // which writes held more than gRPC's hello
	}{
		{"one by one", []string{h2.ClientPreface, settings, window, ack, headers}, h2.ClientPreface + settings + window + headers, "00001"},
		{"all at once", []string{h2.ClientPreface + settings + ack + headers}, h2.ClientPreface + settings + headers, "1"},
		{"the first one only", []string{h2.ClientPreface + settings, ack, ack}, h2.ClientPreface + settings + ack, "001"},
		{"none", []string{h2.ClientPreface, settings + window}, h2.ClientPreface + settings + window, "00"},
		{"part of a frame", []string{h2.ClientPreface, settings + ack[:5]}, h2.ClientPreface + settings + ack[:5], "01"},
		{"something else before it", []string{h2.ClientPreface + settings, headers, ack}, h2.ClientPreface + settings + headers, "011"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r conn
			var calls strings.Builder
			for _, w := range tt.writes {
				n, err := r.Write([]byte(w))
				require.NoError(t, err)
				require.Equal(t, len(w), n)
				if r.called {
					calls.WriteByte('1')
				} else {
					calls.WriteByte('0')
				}
			}
			require.Equal(t, tt.out, string(r.kept))
			require.Equal(t, tt.calls, calls.String())
		})
	}
}
