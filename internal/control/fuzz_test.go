package control

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	understudyv1 "understudy/proto/understudy/v1"
)

// Whatever a peer sends, decoding ends with a message or an error, and what is
// understood means the same when it is sent on.

func FuzzDecodeToWorker(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeToWorkerFast(b)
		roundTrip(t, b, m, err, DecodeToWorkerFast)
		if quick := parseActivation(b); quick != nil && len(b) <= MaxMessage {
			library := new(understudyv1.ToWorker)
			if err := decode(b, library); err != nil || !proto.Equal(quick, library) {
				t.Fatalf("%q is %v to us and %v (%v) to the library", b, quick, library, err)
			}
		}
	})
}

func FuzzDecodeFromWorker(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeFromWorker(b)
		roundTrip(t, b, m, err, DecodeFromWorker)
	})
}

func roundTrip[M proto.Message](t *testing.T, b []byte, m M, err error, decode func([]byte) (M, error)) {
	if err != nil {
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrOversized) {
			t.Fatalf("%q: undocumented error %v", b, err)
		}
		return
	}
	encoded, err := Encode(m)
	if errors.Is(err, ErrOversized) {
		return // written out, some texts are longer
	}
	if err != nil {
		t.Fatalf("%q was understood but cannot be sent: %v", b, err)
	}
	again, err := decode(encoded)
	if err != nil {
		t.Fatalf("%q, sent on as %q: %v", b, encoded, err)
	}
	if !proto.Equal(m, again) {
		t.Fatalf("%q, sent on as %q, means something else", b, encoded)
	}
}
