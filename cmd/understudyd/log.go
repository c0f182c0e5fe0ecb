package main

import (
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// newLogger writes text for people where f is a terminal, else JSON.
func newLogger(f *os.File, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is none of debug, info, warn, error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	if term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(f, o)), nil
	}
	return slog.New(slog.NewJSONHandler(f, o)), nil
}
