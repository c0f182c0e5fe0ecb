package route_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"understudy/isolation"
	understudyv1 "understudy/proto/understudy/v1"
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

// named is the route of a process id.
func named(id string) *understudyv1.Route {
	r := active("any", 1)
	r.ProcessId = id
	return r
}

// A key with namespace and session finds the session that is the namespace's own,
// and else the one that all namespaces share. Who follows it sees both, and is
// told of the one that counts.
func TestSessionsOfBothScopes(t *testing.T) {
	s := newSupervisor(t)
	table := dialed(t, s.target())
	key := route.Key{Pattern: "echo", Namespace: "acme", Session: "42"}
	sub := table.Subscribe(key)
	defer sub.Close()
	next := func(want string) {
		t.Helper()
		for {
			select {
			case r := <-sub.Updates():
				if r.State == route.Gone && want == "" || r.State != route.Gone && r.ProcessID == want {
					return
				}
			case <-time.After(patience):
				require.FailNow(t, "it was not told of", "%q", want)
			}
		}
	}
	next("")
	require.Nil(t, table.Lookup(key))

	const own, shared, others = "session:acme/42:echo", "session:42:echo", "session:globex/42:echo"
	s.publish(named(others))
	s.publish(named(shared))
	next(shared)
	require.Equal(t, shared, table.Lookup(key).ProcessID)
	s.publish(named(own))
	next(own)
	require.Equal(t, own, table.Lookup(key).ProcessID)
	require.Equal(t, own, table.LookupID(own).ProcessID)
	require.Equal(t, others, table.LookupID(others).ProcessID)
	require.Equal(t, shared, table.Lookup(route.Key{Pattern: "echo", Session: "42"}).ProcessID)
	require.Zero(t, testing.AllocsPerRun(100, func() { table.Lookup(key) }))
	r, err := table.Await(context.Background(), key)
	require.NoError(t, err)
	require.Equal(t, own, r.ProcessID)

	gone := named(own)
	gone.State = understudyv1.RouteState_ROUTE_STATE_GONE
	s.publish(gone)
	next(shared)
	gone = named(shared)
	gone.State = understudyv1.RouteState_ROUTE_STATE_GONE
	s.publish(gone)
	next("")
	require.Nil(t, table.Lookup(key))

	k, err := route.ParseProcessID(own)
	require.NoError(t, err)
	require.Equal(t, key, k)
	require.NoError(t, table.Close())
	_, open := <-sub.Updates()
	require.False(t, open)
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
