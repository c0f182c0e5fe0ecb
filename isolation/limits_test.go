package isolation

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBindingsAreBounded(t *testing.T) {
	m := &Manager{cfg: Config{MaxBindings: 3, MaxPerNamespace: 2}, bindings: map[string]*entry{}, perNamespace: map[string]int{}}
	add := func(id, namespace string) {
		m.bindings[id] = &entry{}
		m.perNamespace[namespace]++
	}
	a, b := Key{Level: LevelNamespace, Namespace: "a"}, Key{Level: LevelNamespace, Namespace: "b"}
	add("1", "a")
	require.NoError(t, m.admit("x", a))
	add("2", "a")
	require.ErrorIs(t, m.admit("x", a), ErrExhausted)
	require.ErrorContains(t, m.admit("x", a), `2 bindings of namespace "a"`)
	require.NoError(t, m.admit("x", b), "another tenant has its own")
	add("3", "b")
	require.ErrorContains(t, m.admit("x", b), "3 bindings")
}
