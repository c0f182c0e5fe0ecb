package strictyaml

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Mapping reads a mapping that holds some of the fields and no others.
func Mapping(fields Fields) Setter {
	return func(n *yaml.Node) error {
		return each(n, func(key, value *yaml.Node) error {
			set, ok := fields[key.Value]
			if !ok {
				return fmt.Errorf("unknown field; known are %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
			}
			return set(value)
		})
	}
}

// each calls f for every pair of a mapping and adds the field to its error.
func each(n *yaml.Node, f func(key, value *yaml.Node) error) error {
	if n = follow(n); n.Kind != yaml.MappingNode {
		return wrongType(n, "a mapping")
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return &Error{Line: key.Line, Reason: "a field name must be a plain word"}
		}
		if line, twice := seen[key.Value]; twice {
			return &Error{Line: key.Line, Field: key.Value, Reason: fmt.Sprintf("given twice, first in line %d", line)}
		}
		seen[key.Value] = key.Line
		if err := f(key, value); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				return &Error{Line: key.Line, Field: show(key.Value), Reason: err.Error()}
			}
			if e.Field == "" {
				e.Field = show(key.Value)
			} else {
				e.Field = join(show(key.Value), e.Field)
			}
			return e
		}
	}
	return nil
}

// String reads a string.
func String(to *string) Setter {
	return func(n *yaml.Node) error {
		n = follow(n)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
			return wrongType(n, "a string")
		}
		return text(n, to)
	}
}

// OneOf reads one of some words.
func OneOf[S ~string](to *S, words ...S) Setter {
	return func(n *yaml.Node) error {
		var s string
		if err := String(&s)(n); err != nil {
			return err
		}
		if !slices.Contains(words, S(s)) {
			known := make([]string, len(words))
			for i, w := range words {
				known[i] = string(w)
			}
			return fmt.Errorf("%s is none of %s", quote(s), strings.Join(known, ", "))
		}
		*to = S(s)
		return nil
	}
}

// Bool reads true or false.
func Bool(to *bool) Setter {
	return func(n *yaml.Node) error {
		if n = follow(n); n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			return wrongType(n, "true or false")
		}
		return n.Decode(to)
	}
}

// Int reads a whole number between low and high.
func Int(to *int, low, high int) Setter {
	return func(n *yaml.Node) error {
		n = follow(n)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
			return wrongType(n, "a whole number")
		}
		var v int64
		if err := n.Decode(&v); err != nil {
			return fmt.Errorf("%s is not between %d and %d", quote(n.Value), low, high)
		}
		if v < int64(low) || v > int64(high) {
			return fmt.Errorf("%d is not between %d and %d", v, low, high)
		}
		*to = int(v)
		return nil
	}
}

// Duration reads a duration such as "1.5s" between low and high.
func Duration(to *time.Duration, low, high time.Duration) Setter {
	return func(n *yaml.Node) error {
		n = follow(n)
		if n.Kind != yaml.ScalarNode || isNull(n) {
			return wrongType(n, "a duration such as 10s")
		}
		d, err := time.ParseDuration(n.Value)
		if err != nil {
			if _, number := strconv.ParseFloat(n.Value, 64); number == nil {
				return fmt.Errorf("%s has no unit; write a duration such as 10s", quote(n.Value))
			}
			return fmt.Errorf("%s is not a duration such as 10s", quote(n.Value))
		}
		if d < low || d > high {
			return fmt.Errorf("%v is not between %v and %v", d, low, high)
		}
		*to = d
		return nil
	}
}

// Strings reads a list of scalars, each as it is written.
func Strings(to *[]string) Setter {
	return func(n *yaml.Node) error {
		if n = follow(n); n.Kind != yaml.SequenceNode {
			return wrongType(n, "a list of strings")
		}
		out := make([]string, len(n.Content))
		for i, item := range n.Content {
			if err := scalar(item, &out[i]); err != nil {
				return &Error{Line: item.Line, Field: "[" + strconv.Itoa(i) + "]", Reason: err.Error()}
			}
		}
		*to = out
		return nil
	}
}

// List reads a list of at most most mappings, each with the fields that of
// names for it.
func List[T any](to *[]T, most int, of func(*T) Fields) Setter {
	return func(n *yaml.Node) error {
		if n = follow(n); n.Kind != yaml.SequenceNode {
			return wrongType(n, "a list of mappings")
		}
		if len(n.Content) > most {
			return fmt.Errorf("has %d entries, at most %d are allowed", len(n.Content), most)
		}
		out := make([]T, len(n.Content))
		for i, item := range n.Content {
			if err := Mapping(of(&out[i]))(item); err != nil {
				at := "[" + strconv.Itoa(i) + "]"
				var e *Error
				if !errors.As(err, &e) {
					return &Error{Line: item.Line, Field: at, Reason: err.Error()}
				}
				e.Field = strings.TrimSuffix(join(at, e.Field), ".")
				return e
			}
		}
		*to = out
		return nil
	}
}

// Bytes reads a size: a number of bytes, or one with a unit such as 64MiB.
func Bytes(to *int64) Setter {
	units := []struct {
		suffix string
		shift  int
	}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}}
	return func(n *yaml.Node) error {
		n = follow(n)
		if n.Kind != yaml.ScalarNode || isNull(n) {
			return wrongType(n, "a size such as 64MiB")
		}
		digits, shift := n.Value, 0
		for _, u := range units {
			if rest, ok := strings.CutSuffix(n.Value, u.suffix); ok {
				digits, shift = strings.TrimSpace(rest), u.shift
			}
		}
		v, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || v > math.MaxInt64>>shift || v < math.MinInt64>>shift {
			return fmt.Errorf("%s is not a size such as 64MiB", quote(n.Value))
		}
		*to = v << shift
		return nil
	}
}

// StringMap reads a mapping of names to scalars, each as it is written. check
// looks at each pair; it may be nil.
func StringMap(to *map[string]string, check func(name, value string) error) Setter {
	return func(n *yaml.Node) error {
		out := make(map[string]string)
		err := each(n, func(key, value *yaml.Node) error {
			var s string
			if err := scalar(value, &s); err != nil {
				return err
			}
			if check != nil {
				if err := check(key.Value, s); err != nil {
					return err
				}
			}
			out[key.Value] = s
			return nil
		})
		if err == nil {
			*to = out
		}
		return err
	}
}

// IsScalar reports whether a value is neither a list nor a mapping.
func IsScalar(n *yaml.Node) bool { return follow(n).Kind == yaml.ScalarNode }

func scalar(n *yaml.Node, to *string) error {
	if n = follow(n); n.Kind != yaml.ScalarNode || isNull(n) {
		return wrongType(n, "a string or a number")
	}
	return text(n, to)
}

// text takes a scalar's text. Nothing that is configured by it, from a path to
// an environment, can hold a NUL.
func text(n *yaml.Node, to *string) error {
	if strings.ContainsRune(n.Value, 0) {
		return errors.New("must not contain NUL")
	}
	*to = n.Value
	return nil
}

func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func wrongType(n *yaml.Node, want string) error {
	got := quote(n.Value)
	switch {
	case n.Kind == yaml.MappingNode:
		got = "a mapping"
	case n.Kind == yaml.SequenceNode:
		got = "a list"
	case isNull(n):
		got = "nothing"
	}
	return fmt.Errorf("must be %s, not %s", want, got)
}

// quote shows a value in an error, shortened: an error line has a bound too.
func quote(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%q (%d bytes)", s[:64], len(s))
	}
	return strconv.Quote(s)
}

// show is a field's name in an error: as it is, unless that would not stay one
// short line.
func show(name string) string {
	if q := quote(name); name == "" || q != `"`+name+`"` {
		return q
	}
	return name
}

// Mode reads permission bits as chmod(1) takes them, such as "0660".
func Mode(to *uint32) Setter {
	return func(n *yaml.Node) error {
		n = follow(n)
		if n.Kind != yaml.ScalarNode {
			return wrongType(n, "an octal mode")
		}
		mode, err := strconv.ParseUint(n.Value, 8, 32)
		if err != nil || mode > 0o777 {
			return fmt.Errorf("%s is no octal mode between 0 and 0777", show(n.Value))
		}
		*to = uint32(mode)
		return nil
	}
}
