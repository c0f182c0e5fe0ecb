package route_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"understudy/isolation"
	"understudy/route"
)

func keys() *rapid.Generator[route.Key] {
	return rapid.Custom(func(t *rapid.T) route.Key {
		// What isolation allows in names, and colons beside.
		name := rapid.StringMatching(`([a-zA-ZäßЖ0-9._@+=:-]{1,20})?`)
		return route.Key{
			Pattern:   rapid.StringMatching(`[a-z][a-z0-9_-]{0,10}`).Draw(t, "pattern"),
			Namespace: name.Draw(t, "namespace"),
			Session:   name.Draw(t, "session"),
		}
	})
}

// Two packages that may not know each other have one rule.
func TestProcessIDIsTheSupervisors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := keys().Draw(t, "key")
		level := isolation.LevelNone
		if k.Session != "" {
			level = isolation.LevelSession
		} else if k.Namespace != "" {
			level = isolation.LevelNamespace
		}
		theirs := isolation.Key{Namespace: k.Namespace, Session: k.Session, Level: level}
		require.Equal(t, theirs.ProcessID(k.Pattern), k.ProcessID())

		back, err := route.ParseProcessID(k.ProcessID())
		require.NoError(t, err)
		require.Equal(t, k.ProcessID(), back.ProcessID())
	})
}

func TestParseProcessIDRefuses(t *testing.T) {
	for _, id := range []string{"", "echo", "shared:", "ns:", "ns:a", "ns:a:", "ns::echo", "session:s", "session::echo", "NS:a:echo", "ns"} {
		_, err := route.ParseProcessID(id)
		require.ErrorContains(t, err, "no process id", "%q", id)
	}
}

func TestTargetNamesItsKey(t *testing.T) {
	require.Equal(t, "understudy:///echo", route.Target(route.Key{Pattern: "echo"}))
	require.Equal(t, "understudy:///echo?namespace=acme&session=s%2B1",
		route.Target(route.Key{Pattern: "echo", Namespace: "acme", Session: "s+1"}))
	rapid.Check(t, func(t *rapid.T) {
		k := keys().Draw(t, "key")
		u, err := url.Parse(route.Target(k))
		require.NoError(t, err)
		require.Equal(t, route.Scheme, u.Scheme)
		require.Empty(t, u.Host)
		require.Equal(t, k.Pattern, strings.TrimPrefix(u.Path, "/"))
		require.Equal(t, k.Namespace, u.Query().Get("namespace"))
		require.Equal(t, k.Session, u.Query().Get("session"))
	})
}

func TestSplitAddress(t *testing.T) {
	for address, want := range map[string][2]string{
		"unix:///run/e/x.sock": {"unix", "/run/e/x.sock"},
		"unix:e/x.sock":        {"unix", "e/x.sock"},
		"127.0.0.1:4711":       {"tcp", "127.0.0.1:4711"},
	} {
		network, name := route.SplitAddress(address)
		require.Equal(t, want, [2]string{network, name}, address)
	}
}
