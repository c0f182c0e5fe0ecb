package isolation

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"understudy/internal/control"
	"understudy/patterns"
	"understudy/pool"
)

// activationOf is what a worker of a binding is told, but for its segments.
func activationOf(b *Binding, network, address string, epoch uint64) pool.Activation {
	return pool.Activation{
		ProcessID: b.ProcessID, Pattern: b.Pattern, Epoch: epoch,
		Region: b.Key.Region, Namespace: b.Key.Namespace, Session: b.Key.Session, Level: b.Key.Level.String(),
		Config: b.Config, Network: network, Address: address,
	}
}

// longestPath stands for the path of a segment, and for an address, before they
// are known.
var longestPath = strings.Repeat("x", 256)

// fits checks that every activation of a binding fits a control message, also
// the one of the last epoch, as the worker gets it: escaping makes texts longer.
func (m *Manager) fits(b *Binding, manifest *patterns.Manifest) error {
	a := activationOf(b, manifest.Listen, longestPath, math.MaxUint64)
	a.Takeover = true
	for _, s := range manifest.Segments {
		a.Segments = append(a.Segments, pool.Segment{Name: s.Name, Size: math.MaxUint64, Path: longestPath})
	}
	_, err := m.keeper.Activation(pool.PoolKey(manifest.Name), a)
	if errors.Is(err, control.ErrOversized) {
		return &FieldError{Field: "config", Reason: fmt.Sprintf("makes the activation too long: %v, at most %d are allowed", err, control.MaxMessage)}
	}
	if err != nil {
		return &FieldError{Field: "config", Reason: err.Error()}
	}
	return nil
}
