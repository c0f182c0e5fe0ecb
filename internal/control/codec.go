package control

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	understudyv1 "understudy/proto/understudy/v1"
)

// MaxMessage is the largest datagram, in bytes.
const MaxMessage = 64 << 10

// Errors of a datagram.
var (
	// ErrOversized: the datagram is larger than MaxMessage.
	ErrOversized = errors.New("control message is larger than 64 KiB")
	// ErrTruncatedFDs: more descriptors came along than anybody may send.
	ErrTruncatedFDs = errors.New("control message carries too many descriptors")
	// ErrMalformed: the datagram is not one known message.
	ErrMalformed = errors.New("malformed control message")
)

var decoder = protojson.UnmarshalOptions{DiscardUnknown: true}

// Encode returns a message as a datagram, or ErrOversized.
func Encode(m proto.Message) ([]byte, error) {
	b, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("control: encode: %w", err)
	}
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes", ErrOversized, len(b))
	}
	return b, nil
}

// DecodeToWorker reads what the supervisor sent. Fields it does not know are
// passed over; a message it does not know is ErrMalformed.
func DecodeToWorker(b []byte) (*understudyv1.ToWorker, error) {
	m := &understudyv1.ToWorker{}
	if err := decode(b, m); err != nil {
		return nil, err
	}
	if m.Message == nil {
		return nil, unknown(b)
	}
	return m, nil
}

// DecodeFromWorker reads what a worker sent, like DecodeToWorker.
func DecodeFromWorker(b []byte) (*understudyv1.FromWorker, error) {
	m := &understudyv1.FromWorker{}
	if err := decode(b, m); err != nil {
		return nil, err
	}
	if m.Message == nil {
		return nil, unknown(b)
	}
	return m, nil
}

func decode(b []byte, m proto.Message) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("%w: %d bytes", ErrOversized, len(b))
	}
	if err := decoder.Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: %v in %s", ErrMalformed, err, clip(b))
	}
	return nil
}

func unknown(b []byte) error { return fmt.Errorf("%w: no known message in %s", ErrMalformed, clip(b)) }

// clip quotes the beginning of a datagram for an error.
func clip(b []byte) string {
	const most = 80
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
