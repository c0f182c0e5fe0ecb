package isolation

import (
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/patterns"
	"understudy/pool"
)

// bounded returns a manager that runs nothing, with these limits, and a pattern
// that keeps no spares.
func bounded(cfg Config) (*Manager, *patterns.Manifest) {
	manifest := &patterns.Manifest{Name: "x"}
	keeper := pool.NewKeeper(cfg.Pool, nil, nil, nil, pool.Hooks{})
	keeper.AddPool("x", manifest)
	return &Manager{cfg: cfg, keeper: keeper, bindings: map[string]*entry{}, perNamespace: map[string]int{}}, manifest
}

func TestBindingsAreBounded(t *testing.T) {
	m, x := bounded(Config{MaxBindings: 3, MaxPerNamespace: 2})
	add := func(id, namespace string) {
		m.bindings[id] = &entry{}
		m.perNamespace[namespace]++
	}
	a, b := Key{Level: LevelNamespace, Namespace: "a"}, Key{Level: LevelNamespace, Namespace: "b"}
	add("1", "a")
	require.NoError(t, m.admit(x, a))
	add("2", "a")
	require.ErrorIs(t, m.admit(x, a), ErrExhausted)
	require.ErrorContains(t, m.admit(x, a), `2 bindings of namespace "a"`)
	require.NoError(t, m.admit(x, b), "another tenant has its own")
	add("3", "b")
	require.ErrorContains(t, m.admit(x, b), "3 bindings")
	require.EqualValues(t, 2, m.refused[limitBindingsPerNamespace])
	require.EqualValues(t, 1, m.refused[limitBindings])
}

// A launch that would run out of descriptors half-way is refused before it
// begins.
func TestDescriptorsAreBounded(t *testing.T) {
	used := 0
	m, x := bounded(Config{Pool: pool.Config{Descriptors: func() (int, int) { return used, 200 }}})
	require.NoError(t, m.admit(x, Key{}))
	free := m.keeper.FreeDescriptors()
	used = free - pool.WorkerDescriptors - 1 // one for the socket
	require.NoError(t, m.admit(x, Key{}))
	used++
	require.ErrorIs(t, m.admit(x, Key{}), ErrExhausted)
	require.ErrorContains(t, m.admit(x, Key{}), "of 200 file descriptors are in use")
	require.EqualValues(t, 2, m.refused[limitDescriptors])
	used = 1000
	require.Zero(t, m.keeper.Fits())
}
