package isolation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A launch whose activation could not be sent, or could not be sent any more at
// a later epoch, is refused before anything is made for it.
func TestConfigThatDoesNotFitAnActivationIsRefused(t *testing.T) {
	h := newHouse(t, manifest("a", nil))
	for name, value := range map[string]string{
		"escaped":   strings.Repeat("\x01", maxConfig-10), // each byte takes six
		"not UTF-8": "\xff",
	} {
		_, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: "a", Key: Key{Namespace: "acme"}, Config: map[string]string{"k": value}})
		var field *FieldError
		require.ErrorAs(t, err, &field, name)
		require.Equal(t, "config", field.Field)
		require.Empty(t, h.List())
		left, err := os.ReadDir(filepath.Join(h.dir, EndpointDir))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	_, err := h.Acquire(h.ctx(), AcquireRequest{Pattern: "a", Key: Key{Namespace: "acme"}, Config: map[string]string{"k": strings.Repeat("x", maxConfig-10)}})
	require.NoError(t, err)
}
