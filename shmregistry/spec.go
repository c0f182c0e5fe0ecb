package shmregistry

import (
	"errors"
	"fmt"
)

// Policy says what becomes of a segment when the worker that has it dies.
type Policy string

const (
	Handover Policy = "handover" // the next active worker of the binding gets it as it is
	Unlink   Policy = "unlink"   // it is removed; the next worker gets a fresh one
)

const (
	// MaxName is the longest name of a segment, in bytes.
	MaxName = 64
	// MaxSize is more data than any segment may have, in bytes, whatever the
	// [Limits] say: the address space of a process ends at 128 TiB on amd64
	// (Documentation/arch/x86/x86_64/mm.rst).
	MaxSize = 1 << 46
	// MaxSpecs is the number of segments that one binding may declare. A message
	// of the worker protocol carries at most 64 descriptors, and the listeners are
	// among them.
	MaxSpecs = 32
)

// ErrSpec says that a segment was declared in a way that cannot be.
var ErrSpec = errors.New("bad segment")

// Spec declares a segment.
type Spec struct {
	Name    string // 1 to [MaxName] of a-z, 0-9, _ and -
	Size    int64  // bytes of data
	OnDeath Policy
	Named   bool // give it a name in the shared-memory directory
}

// Validate says what is wrong with a declaration, as [ErrSpec].
func (s Spec) Validate() error {
	if err := validName(s.Name); err != nil {
		return err
	}
	switch {
	case s.Size <= 0:
		return fmt.Errorf("%w %q: a size of %d bytes, expected 1 or more", ErrSpec, s.Name, s.Size)
	case s.Size > MaxSize:
		return fmt.Errorf("%w %q: a size of %d bytes, expected at most %d", ErrSpec, s.Name, s.Size, int64(MaxSize))
	case s.OnDeath != Handover && s.OnDeath != Unlink:
		return fmt.Errorf("%w %q: on_death is %.40q, expected %q or %q", ErrSpec, s.Name, s.OnDeath, Handover, Unlink)
	}
	return nil
}

// ValidateAll says what is wrong with the declarations of one binding, as
// [ErrSpec].
func ValidateAll(specs []Spec) error {
	if len(specs) > MaxSpecs {
		return fmt.Errorf("%w: %d segments, expected at most %d", ErrSpec, len(specs), MaxSpecs)
	}
	for i, spec := range specs {
		if err := spec.Validate(); err != nil {
			return err
		}
		for _, other := range specs[:i] {
			if other.Name == spec.Name {
				return fmt.Errorf("%w: two have the name %q", ErrSpec, spec.Name)
			}
		}
	}
	return nil
}

func validName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it has no name", ErrSpec)
	case len(name) > MaxName:
		return fmt.Errorf("%w %.16q…: a name of %d bytes, expected at most %d", ErrSpec, name, len(name), MaxName)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return fmt.Errorf("%w %q: %q in its name, expected a-z, 0-9, _ and - only", ErrSpec, name, c)
		}
	}
	return nil
}
