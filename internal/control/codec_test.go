package control

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	understudyv1 "understudy/proto/understudy/v1"
)

func TestEncodeUsesTheNamesOfTheSchema(t *testing.T) {
	b, err := Encode(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_ProbeResult{
		ProbeResult: &understudyv1.ProbeResult{Id: 1<<63 + 1, Ok: true, ProcessId: "ns:acme:echo", Epoch: 2}}})
	require.NoError(t, err)
	require.JSONEq(t, `{"probe_result": {"id": "9223372036854775809", "ok": true, "process_id": "ns:acme:echo", "epoch": "2"}}`, string(b))
}

func TestEncodeRefusesOversized(t *testing.T) {
	_, err := Encode(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Fatal{
		Fatal: &understudyv1.Fatal{Error: strings.Repeat("x", MaxMessage)}}})
	require.ErrorIs(t, err, ErrOversized)
}

func TestEncodeRefusesInvalidText(t *testing.T) {
	_, err := Encode(&understudyv1.FromWorker{Message: &understudyv1.FromWorker_Fatal{
		Fatal: &understudyv1.Fatal{Error: "\xff"}}})
	require.ErrorContains(t, err, "UTF-8")
}

func TestDecodeReadsBothSpellingsAndPassesOverUnknownFields(t *testing.T) {
	want := &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Drain{Drain: &understudyv1.Drain{GraceMs: 5000}}}
	for _, in := range []string{
		`{"drain":{"grace_ms":5000}}`,
		`{"drain":{"graceMs":"5000"}}`,
		`{"version": 2, "drain": {"grace_ms": 5e3, "reason": {"text": ["moved"]}}}`,
	} {
		got, err := DecodeToWorker([]byte(in))
		require.NoError(t, err, in)
		require.True(t, proto.Equal(want, got), in)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"nothing":           {"", ErrEmpty},
		"garbage":           {"\x00\x01garbage", ErrMalformed},
		"list":              {`[1,2]`, ErrMalformed},
		"null":              {`null`, ErrMalformed},
		"no message":        {`{}`, ErrUnknown},
		"later message":     {`{"resign": {}}`, ErrUnknown},
		"null message":      {`{"ready": null}`, ErrUnknown},
		"other direction":   {`{"drain": {}}`, ErrUnknown},
		"two messages":      {`{"ready": {}, "drained": {}}`, ErrMalformed},
		"the same twice":    {`{"ready": {}, "ready": {}}`, ErrMalformed},
		"wrong type":        {`{"ready": {"protocol": "one"}}`, ErrMalformed},
		"out of range":      {`{"ready": {"protocol": -1}}`, ErrMalformed},
		"cut off":           {`{"ready": {"protocol": 1`, ErrMalformed},
		"two objects":       {`{"drained": {}}{"drained": {}}`, ErrMalformed},
		"invalid UTF-8":     {"{\"fatal\": {\"error\": \"\xff\"}}", ErrMalformed},
		"deep":              {`{"x": ` + strings.Repeat("[", MaxMessage/2), ErrMalformed},
		"one byte too many": {`{"drained": {}}` + strings.Repeat(" ", MaxMessage+1-15), ErrOversized},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeFromWorker([]byte(c.in))
			require.ErrorIs(t, err, c.want)
			require.Less(t, len(err.Error()), 500, "an error quotes only the beginning")
		})
	}
	_, err := DecodeToWorker([]byte(`{"ready": {}}`))
	require.ErrorIs(t, err, ErrUnknown)
}

func TestDecodeAcceptsTheLargest(t *testing.T) {
	_, err := DecodeFromWorker([]byte(`{"drained": {}}` + strings.Repeat(" ", MaxMessage-15)))
	require.NoError(t, err)
}

// What docs/PROTOCOL.md shows is what the codec reads, field by field, and
// every kind of message is shown.
func TestExamplesOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/PROTOCOL.md")
	require.NoError(t, err)
	missing := map[string]bool{}
	for _, m := range []proto.Message{new(understudyv1.ToWorker), new(understudyv1.FromWorker)} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			missing[fields.Get(i).TextName()] = true
		}
	}
	for _, example := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1) {
		var m proto.Message
		if m, err = DecodeToWorker(example[1]); err != nil {
			m, err = DecodeFromWorker(example[1])
		}
		require.NoError(t, err)
		again, err := Encode(m)
		require.NoError(t, err)
		require.JSONEq(t, string(example[1]), string(again), "an unknown or superfluous field")
		var kinds map[string]any
		require.NoError(t, json.Unmarshal(example[1], &kinds))
		for kind := range kinds {
			delete(missing, kind)
		}
	}
	require.Empty(t, missing, "kinds of messages without an example")
}
