package fault

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every label that is declared is in the list, once, with an errno.
func TestTheListIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "labels.go", nil, 0)
	require.NoError(t, err)
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if kind, ok := v.Type.(*ast.Ident); ok && kind.Name == "Label" {
				declared++
			}
		}
		return true
	})
	seen := map[Label]bool{}
	for _, l := range labels {
		require.False(t, seen[l.label], l.label)
		require.NotZero(t, l.errno, l.label)
		seen[l.label] = true
	}
	require.Len(t, seen, declared)
	require.Len(t, All(), declared)
}
