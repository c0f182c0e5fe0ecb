package pace

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryTrickIsOnUntilItIsTurnedOff(t *testing.T) {
	var s Switches
	for _, name := range All() {
		require.True(t, s.On(name), name)
	}
	s, err := Off(Greeter, DumpGate, Greeter)
	require.NoError(t, err)
	require.False(t, s.On(Greeter))
	require.False(t, s.On(DumpGate))
	require.True(t, s.On(Demote))
	require.Equal(t, "dump_gate,greeter", s.String())
	_, err = Off("speed")
	require.ErrorContains(t, err, `"speed" is none of report_delay`)
}

func TestSwitchesReachAChild(t *testing.T) {
	s, err := Off(Demote, FastParser)
	require.NoError(t, err)
	t.Setenv(Variable, s.String()+",of_another_version")
	require.Equal(t, s, FromEnvironment())
	t.Setenv(Variable, "")
	require.Equal(t, Switches{}, FromEnvironment())
}
