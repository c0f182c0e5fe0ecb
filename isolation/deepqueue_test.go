package isolation

import (
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/deepqueue"
	"understudy/patterns"
)

// Where the kernel cuts a queue it tells nobody, so the endpoint has to know.
func TestEndpointsKnowThatTheirQueueIsCut(t *testing.T) {
	machine, err := deepqueue.Somaxconn()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		backlog, granted int
		cut              bool
	}{
		"more than the machine allows": {machine + 1, machine, true},
		"as much as it allows":         {machine, machine, false},
		"less":                         {16, 16, false},
	} {
		for _, network := range []string{"unix", "tcp"} {
			e, err := openEndpoint(network, makeDirs(t), "ns:a:x", "", patterns.Endpoint{Backlog: c.backlog}, nil)
			require.NoError(t, err)
			require.Equal(t, c.granted, e.backlog, "%s, %s", network, name)
			require.Equal(t, c.cut, e.cut, "%s, %s", network, name)
			e.close()
		}
	}
}

func TestDeepQueuesAreNotCut(t *testing.T) {
	machine, err := deepqueue.Somaxconn()
	require.NoError(t, err)
	deep, err := deepqueue.Open(machine + 2)
	if err != nil {
		t.Skipf("no network namespace can be made here: %v", err)
	}
	defer deep.Close()
	e, err := openEndpoint("unix", makeDirs(t), "ns:a:x", "", patterns.Endpoint{Backlog: machine + 1}, deep)
	require.NoError(t, err)
	require.Equal(t, machine+1, e.backlog)
	require.False(t, e.cut)
	require.True(t, e.reachable())
	e.close()
}
