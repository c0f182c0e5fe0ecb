package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	understudyv1 "understudy/proto/understudy/v1"
)

// hostile is what a worker can have in its last words.
const hostile = "\x1b]0;title\a \u202egnp.exe \u009b31m plain \U000e0001"

func TestNothingAWorkerSaysIsObeyed(t *testing.T) {
	b := &understudyv1.Binding{ProcessId: "ns:a:x", LastError: hostile}
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		c := &cli{stdout: printable{&out}, json: asJSON}
		if asJSON {
			require.NoError(t, c.printJSON(b))
			var got map[string]any
			require.NoError(t, json.Unmarshal(out.Bytes(), &got))
			require.Equal(t, hostile, got["last_error"], "programs get what was said")
		} else {
			require.NoError(t, c.printBinding(proto.CloneOf(b), b.GetCreated().AsTime()))
			require.Contains(t, out.String(), "plain")
		}
		for _, r := range out.String() {
			require.False(t, r == 0x1b || r == 7 || r == 0x202e || r == 0x9b, "%q in %q", r, out.String())
		}
	}
}
