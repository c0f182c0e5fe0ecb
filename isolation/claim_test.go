package isolation

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a worker says of a binding counts only where it can be true.
func TestClaims(t *testing.T) {
	e := &entry{Binding: Binding{ProcessID: "ns:a:x"}, phase: phase{epoch: 4}}
	require.True(t, mayServe(e, e.Pattern, "", 5), "the engine may have just activated it")
	require.False(t, mayServe(e, e.Pattern, "", 6))
	require.False(t, mayServe(e, e.Pattern, "", math.MaxUint64))
	require.False(t, mayServe(e, e.Pattern, "", 0))
	require.False(t, mayServe(e, "other", "", 5))
	require.False(t, mayServe(e, e.Pattern, "ns:b:x", 5))
	require.True(t, mayServe(e, e.Pattern, "ns:a:x", 4))
}
