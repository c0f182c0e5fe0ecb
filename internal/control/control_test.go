package control

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	understudyv1 "understudy/proto/understudy/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pair(t *testing.T) (a, b *Conn, rawA *os.File) {
	t.Helper()
	fa, fb, err := Pair()
	require.NoError(t, err)
	a, err = NewConn(fa)
	require.NoError(t, err)
	b, err = NewConn(fb)
	require.NoError(t, err)
	fb.Close()
	t.Cleanup(func() { fa.Close(); a.Close(); b.Close() })
	return a, b, fa
}

func TestMessageTravelsWithItsDescriptors(t *testing.T) {
	a, b, _ := pair(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	sent := &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Activate{Activate: &understudyv1.Activate{
		ProcessId: "ns:acme:echo", Epoch: 1<<63 + 1, Config: map[string]string{"k": "v"}}}}
	d, err := Encode(sent)
	require.NoError(t, err)
	require.NoError(t, a.Send(d, int(w.Fd())))
	w.Close()

	got, fds, err := b.Recv()
	require.NoError(t, err)
	m, err := DecodeToWorker(got)
	require.NoError(t, err)
	require.Equal(t, uint64(1<<63+1), m.GetActivate().Epoch)
	require.Len(t, fds, 1)
	flags, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC, "a received descriptor would leak into children")
	passed := os.NewFile(uintptr(fds[0]), "passed")
	_, err = passed.WriteString("hello")
	require.NoError(t, err)
	passed.Close()
	back, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "hello", string(back))
}

func TestLargestMessageFitsAndOneByteMoreDoesNot(t *testing.T) {
	a, b, raw := pair(t)
	require.NoError(t, a.Send(make([]byte, MaxMessage)))
	got, _, err := b.Recv()
	require.NoError(t, err)
	require.Len(t, got, MaxMessage)

	require.ErrorIs(t, a.Send(make([]byte, MaxMessage+1)), ErrOversized)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	// Past our own check, as a broken peer would.
	require.NoError(t, unix.Sendmsg(int(raw.Fd()), make([]byte, MaxMessage+2), unix.UnixRights(int(r.Fd())), nil, 0))
	r.Close()
	_, _, err = b.Recv()
	require.ErrorIs(t, err, ErrOversized)
	_, err = w.Write([]byte("x"))
	require.ErrorIs(t, err, unix.EPIPE, "the descriptor of a refused message must be closed")
}

func TestTooManyDescriptors(t *testing.T) {
	a, b, _ := pair(t)
	fds := make([]int, maxFDs+1)
	require.NoError(t, a.Send([]byte("{}"), fds...))
	_, _, err := b.Recv()
	require.ErrorIs(t, err, ErrTruncatedFDs)
}

func TestClosedPeerIsEOF(t *testing.T) {
	a, b, raw := pair(t)
	raw.Close()
	a.Close()
	_, _, err := b.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestGarbageIsMalformed(t *testing.T) {
	for name, in := range map[string]string{
		"empty":           "",
		"no json":         "\x00\x01garbage",
		"no object":       `[1,2]`,
		"no message":      `{}`,
		"unknown message": `{"resign": {}}`,
		"two messages":    `{"ready": {}, "drained": {}}`,
		"wrong type":      `{"ready": {"protocol": "one"}}`,
		"cut off":         `{"ready": {"protocol": 1`,
		"two objects":     `{"drained": {}}{"drained": {}}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeFromWorker([]byte(in))
			require.ErrorIs(t, err, ErrMalformed)
			require.Less(t, len(err.Error()), 500)
		})
	}
	_, err := DecodeFromWorker([]byte(`{"fatal": {"error": "` + strings.Repeat("x", MaxMessage) + `"}}`))
	require.ErrorIs(t, err, ErrOversized)
}

func TestUnknownFieldsArePassedOver(t *testing.T) {
	m, err := DecodeFromWorker([]byte(`{"ready": {"protocol": 1, "mood": "good"}, "version": 2}`))
	require.NoError(t, err)
	require.Equal(t, uint32(1), m.GetReady().Protocol)
}

func FuzzDecodeFromWorker(f *testing.F) {
	for _, s := range []string{`{"ready":{"protocol":1,"heirPid":7}}`, `{"active":{"processId":"p","epoch":"3"}}`, `{"probeResult":{"id":"1","ok":true}}`, `{"drained":{}}`, `{"fatal":{"error":"x"}}`, `{`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeFromWorker(b); err == nil {
			d, err := Encode(m)
			require.NoError(t, err)
			again, err := DecodeFromWorker(d)
			require.NoError(t, err)
			require.IsType(t, m.Message, again.Message)
		}
	})
}

func FuzzDecodeToWorker(f *testing.F) {
	for _, s := range []string{`{"activate":{"processId":"ns:a:echo","epoch":"1","listeners":[{"name":"main","network":"unix"}]}}`, `{"probe":{"id":"1"}}`, `{"drain":{"graceMs":"5000"}}`, `{"retire":{}}`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeToWorker(b); err == nil {
			require.NotNil(t, m.Message)
		}
	})
}
