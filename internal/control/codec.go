package control

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	understudyv1 "understudy/proto/understudy/v1"
)

// MaxMessage is the size of the largest message, in bytes.
const MaxMessage = 64 << 10

// Errors that a message can have.
var (
	// ErrOversized: it is larger than MaxMessage.
	ErrOversized = errors.New("control message is larger than 64 KiB")
	// ErrMalformed: it is not one message of the schema.
	ErrMalformed = errors.New("malformed control message")
	// ErrEmpty, a case of ErrMalformed: it has no bytes.
	ErrEmpty = fmt.Errorf("%w: no bytes", ErrMalformed)
	// ErrUnknown, a case of ErrMalformed: it is well formed, but of no kind
	// that this version knows. A later version of the peer may send such.
	ErrUnknown = fmt.Errorf("%w: of no known kind", ErrMalformed)
)

// Encode returns m, a ToWorker or FromWorker, as one datagram, or ErrOversized.
// The names of fields are those of the schema.
func Encode(m proto.Message) ([]byte, error) {
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode control message: %w", err)
	}
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes", ErrOversized, len(b))
	}
	return b, nil
}

// DecodeToWorker reads what the supervisor sent. Fields that this version does
// not know are passed over; a kind of message it does not know is ErrUnknown.
func DecodeToWorker(b []byte) (*understudyv1.ToWorker, error) {
	m := new(understudyv1.ToWorker)
	if err := decode(b, m); err != nil {
		return nil, err
	}
	if m.Message == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, clip(b))
	}
	return m, nil
}

// DecodeFromWorker reads what a worker sent, like DecodeToWorker.
func DecodeFromWorker(b []byte) (*understudyv1.FromWorker, error) {
	m := new(understudyv1.FromWorker)
	if err := decode(b, m); err != nil {
		return nil, err
	}
	if m.Message == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, clip(b))
	}
	return m, nil
}

func decode(b []byte, m proto.Message) error {
	switch {
	case len(b) == 0:
		return ErrEmpty
	case len(b) > MaxMessage:
		return fmt.Errorf("%w: %d bytes", ErrOversized, len(b))
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMalformed, clip(b), err)
	}
	return nil
}

// clip quotes the beginning of a datagram for an error.
func clip(b []byte) string {
	const most = 80
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
