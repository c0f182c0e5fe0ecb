// Package strictyaml reads small YAML files that people write by hand, and
// says of anything it does not understand where it stands and what is wrong:
//
//	patterns/echo/manifest.yaml:4: spares.min: 2000 is not between 0 and 1000
//
// What a file may hold is a table of fields, each with the function that takes
// its value. Decoding into structs would be shorter, but its errors name Go
// types instead of fields, and a range check after it has lost the line.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// MaxSize is the largest file that is read, in bytes.
const MaxSize = 256 << 10

// Error says what is wrong with a file, in one line.
type Error struct {
	File string
	// Line counts from 1; 0 where no line is to blame.
	Line int
	// Field is the path of the field, such as "spares.min"; "" for the whole.
	Field  string
	Reason string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
	}
	if e.Field != "" {
		b.WriteString(": " + e.Field)
	}
	return b.String() + ": " + e.Reason
}

// Setter takes the value of a field. The reader adds the place to its error.
type Setter func(*yaml.Node) error

// Fields is what a mapping may hold.
type Fields map[string]Setter

// Source is a file that was read. It makes errors for what only shows when
// all fields are known.
type Source struct {
	file  string
	lines map[string]int
}

// Errorf blames a field of the file, by its path. A field that the file does
// not mention is blamed at the nearest one around it that it does.
func (s *Source) Errorf(field, format string, args ...any) error {
	line, ok := 0, false
	for at := field; !ok && at != ""; {
		line, ok = s.lines[at]
		at = at[:max(0, strings.LastIndexByte(at, '.'))]
	}
	return &Error{File: s.file, Line: line, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Has reports whether the file mentions a field.
func (s *Source) Has(field string) bool {
	_, ok := s.lines[field]
	return ok
}

// ReadFile reads a file into fields. Its error is an *Error, or that of opening
// the file.
func ReadFile(file string, fields Fields) (*Source, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	return Read(file, data, fields)
}

// Read reads data, the content of file, into fields.
func Read(file string, data []byte, fields Fields) (*Source, error) {
	s := &Source{file: file, lines: make(map[string]int)}
	if len(data) > MaxSize {
		return nil, s.Errorf("", "is larger than %d bytes", MaxSize)
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return s, nil // empty: every field has its default
		}
		return nil, s.syntax(err)
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		return nil, s.Errorf("", "holds more than one document")
	} else if !errors.Is(err, io.EOF) {
		return nil, s.syntax(err)
	}
	root := doc.Content[0]
	if isNull(root) {
		return s, nil
	}
	if err := Mapping(fields)(root); err != nil {
		return nil, s.place(err, root.Line)
	}
	s.note("", root)
	return s, nil
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	// yaml.v3 counts lines from 0 where its parser, not its scanner, gives up
	// (decode.go, parser.fail). These are the parser's complaints.
	fromParser = regexp.MustCompile(`did not find expected (node content|key|'-' indicator|',' or '[\]}]'|<document start>)$`)
)

// syntax turns an error of the YAML parser into one of ours.
func (s *Source) syntax(err error) error {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	e := &Error{File: s.file, Reason: "not YAML: " + text}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		if e.Line > 0 && fromParser.MatchString(text) {
			e.Line++
		}
		e.Reason = "not YAML: " + text[len(m[0]):]
	}
	return e
}

// place fills in file and, where the error has none, line.
func (s *Source) place(err error, line int) error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Line: line, Reason: err.Error()}
	}
	e.File = s.file
	return e
}

// note remembers the line of every field. Aliases are not followed: what they
// stand for was noted where it is.
func (s *Source) note(path string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		field := join(path, n.Content[i].Value)
		s.lines[field] = n.Content[i].Line
		s.note(field, n.Content[i+1])
	}
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}
