// Package logkind marks log records by who is to blame for their number, so
// that the log can keep a queue for each kind: what workers write must not push
// out what the supervisor has to say.
package logkind

import (
	"context"
	"log/slog"
)

// Kind is a kind of log record.
type Kind int

// The kinds, the most important one first.
const (
	// Trouble are the supervisor's own warnings and errors.
	Trouble Kind = iota
	// Event is what else the supervisor tells.
	Event
	// Output is what workers write.
	Output
	// Kinds is how many there are.
	Kinds
)

// String is the kind's name in metrics.
func (k Kind) String() string { return [Kinds]string{"trouble", "event", "output"}[k] }

type key struct{}

// OutputContext is for records of what a worker wrote.
func OutputContext() context.Context {
	return context.WithValue(context.Background(), key{}, true)
}

// Of returns the kind of a record that is logged with ctx.
func Of(ctx context.Context, level slog.Level) Kind {
	switch {
	case ctx.Value(key{}) != nil:
		return Output
	case level >= slog.LevelWarn:
		return Trouble
	}
	return Event
}
