//go:build !linux || !(amd64 || arm64)

package heir

import "os"

// Heir exists on Linux only, on amd64 and arm64.
type Heir struct{}

// Start returns ErrNotSupported.
func Start(*os.File) (*Heir, error) { return nil, ErrNotSupported }

// Pid returns 0.
func (*Heir) Pid() int { return 0 }

// Track does nothing.
func (*Heir) Track(int) {}

// Untrack does nothing.
func (*Heir) Untrack(int) {}

// Listens does nothing.
func (*Heir) Listens(int) {}

// Stop does nothing.
func (*Heir) Stop() error { return nil }
