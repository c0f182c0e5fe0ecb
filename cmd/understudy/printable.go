package main

import (
	"io"

	"understudy/internal/text"
)

// printable passes text on without anything that a terminal would obey: escape
// sequences, other control characters but tab and newline, marks that change the
// direction of text. Each Write is whole: nobody here writes parts of a rune. In
// JSON what it writes instead is the escape of the same character.
type printable struct{ to io.Writer }

// Write implements io.Writer.
func (p printable) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.to, text.Printable(string(b), true)); err != nil {
		return 0, err
	}
	return len(b), nil
}
