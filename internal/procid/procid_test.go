package procid

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestForms(t *testing.T) {
	for s, want := range map[string]ID{
		"shared:echo":          {Pattern: "echo"},
		"ns:acme:echo":         {Level: Namespace, Namespace: "acme", Pattern: "echo"},
		"session:42:echo":      {Level: Session, Session: "42", Pattern: "echo"},
		"session:acme/42:echo": {Level: Session, Namespace: "acme", Session: "42", Pattern: "echo"},
	} {
		got, ok := Parse(s)
		require.True(t, ok, s)
		require.Equal(t, want, got)
		require.Equal(t, s, got.String())
	}
	for _, s := range []string{"", "echo", "shared:", "ns:echo", "ns::echo", "ns:acme:", "session::echo", "session:/42:echo", "session:acme/:echo", "NS:acme:echo"} {
		_, ok := Parse(s)
		require.False(t, ok, s)
	}
}

func TestParseIsTheReverseOfString(t *testing.T) {
	name := rapid.StringMatching(`[a-zA-Z0-9._@+=-]{1,20}`)
	rapid.Check(t, func(t *rapid.T) {
		id := ID{Level: Level(rapid.IntRange(0, 2).Draw(t, "level")), Pattern: rapid.StringMatching(`[a-z][a-z0-9_-]{0,10}`).Draw(t, "pattern")}
		if id.Level == Namespace || id.Level == Session && rapid.Bool().Draw(t, "scoped") {
			id.Namespace = name.Draw(t, "namespace")
		}
		if id.Level == Session {
			id.Session = name.Draw(t, "session")
		}
		got, ok := Parse(id.String())
		require.True(t, ok)
		require.Equal(t, id, got)
	})
}
