package isolation

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSessionScope(t *testing.T) {
	k := Key{Level: LevelSession, Namespace: "acme", Session: "42"}
	require.Equal(t, "session:42:x", k.scoped("x", "session"))
	require.Equal(t, "session:acme/42:x", k.scoped("x", "namespace_session"))
}
