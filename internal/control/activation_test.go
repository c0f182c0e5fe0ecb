package control

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	understudyv1 "understudy/proto/understudy/v1"
)

func anActivation() *understudyv1.ToWorker {
	return &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Activate{Activate: &understudyv1.Activate{
		ProcessId: "ns:acme:echo", Pattern: "echo", Epoch: 1<<64 - 1,
		Key:       &understudyv1.Key{Region: "r", Namespace: "acme", Session: "s", Level: "namespace"},
		Config:    map[string]string{"ballast_mb": "8", "name": "Ü"},
		Listeners: []*understudyv1.Listener{{Name: "main", Network: "unix", Address: "/run/a"}, {Name: "other"}},
		Segments:  []*understudyv1.Segment{{Name: "state", Size: 4096, Path: "/dev/shm/a"}},
		Takeover:  true,
	}}}
}

// What Encode writes is read without the library, whatever spaces the library
// put in (it does so at random), and means the same.
func TestActivationIsReadQuickly(t *testing.T) {
	m := anActivation()
	b, err := Encode(m)
	require.NoError(t, err)
	require.Truef(t, proto.Equal(m, parseActivation(b)), "%s", b)
	b, err = Encode(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Activate{Activate: &understudyv1.Activate{}}})
	require.NoError(t, err)
	require.NotNilf(t, parseActivation(b), "%s", b)
}

// Everything else is left to the library.
func TestActivationInAnotherFormIsLeftAlone(t *testing.T) {
	for _, b := range []string{``, `{`, `{}`, `{"retire":{}}`, `{"activate":null}`, `{"activate":{}}x`, `{"activate":{},}`,
		`{"activate":{"pattern":"a","pattern":"b"}}`, `{"activate":{"pattern":"\u0061"}}`, `{"activate":{"epoch":1}}`,
		`{"activate":{"epoch":"01"}}`, `{"activate":{"epoch":"-1"}}`, `{"activate":{"processId":"a"}}`, `{"activate":{"new":1}}`,
		"{\"activate\":{\"pattern\":\"\xff\"}}", `{"activate":{"listeners":[{"name":"a"}`, `{"activate":{"config":{"a":"1","a":"2"}}}`,
		`{"activate":{"takeover":"true"}}`, `{"activate":{"takeover":tru}}`, `{"activate":{"takeover":truefalse}}`} {
		require.Nilf(t, parseActivation([]byte(b)), "%s", b)
	}
}

func BenchmarkDecodeActivation(b *testing.B) {
	data, err := Encode(anActivation())
	require.NoError(b, err)
	b.Run("quick", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			parseActivation(data)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = decode(data, new(understudyv1.ToWorker))
		}
	})
}
