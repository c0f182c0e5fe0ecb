package strictyaml_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/internal/strictyaml"
)

// settings is a target with a field of every kind.
type settings struct {
	name  string
	kind  string
	on    bool
	count int
	wait  time.Duration
	list  []string
	table map[string]string
}

func (s *settings) fields() strictyaml.Fields {
	return strictyaml.Fields{
		"name": strictyaml.String(&s.name),
		"kind": strictyaml.OneOf(&s.kind, "a", "b"),
		"on":   strictyaml.Bool(&s.on),
		"in": strictyaml.Mapping(strictyaml.Fields{
			"count": strictyaml.Int(&s.count, -5, 5),
			"wait":  strictyaml.Duration(&s.wait, 0, time.Minute),
		}),
		"list": strictyaml.Strings(&s.list),
		"table": strictyaml.StringMap(&s.table, func(name, value string) error {
			if name == value {
				return fmt.Errorf("says nothing")
			}
			return nil
		}),
	}
}

func TestReadTakesValuesAsTheyAreWritten(t *testing.T) {
	var s settings
	src, err := strictyaml.Read("f", []byte(`
name: &n "5"
kind: b
on: true
in: {count: -0x5, wait: 1m}
list: [1.50, yes, *n, 2026-01-01]
table: {a: 007, b: 'null'}
`), s.fields())
	require.NoError(t, err)
	require.Equal(t, settings{name: "5", kind: "b", on: true, count: -5, wait: time.Minute,
		list: []string{"1.50", "yes", "5", "2026-01-01"}, table: map[string]string{"a": "007", "b": "null"}}, s)
	require.True(t, src.Has("in.count"))
	require.False(t, src.Has("in.size"))
}

// What follows from several fields is blamed on the nearest line there is.
func TestErrorsAfterReadingHaveLines(t *testing.T) {
	var s settings
	src, err := strictyaml.Read("f", []byte("name: x\nin:\n  count: 1\n"), s.fields())
	require.NoError(t, err)
	require.EqualError(t, src.Errorf("in.count", "is %d", 1), "f:3: in.count: is 1")
	require.EqualError(t, src.Errorf("in.wait", "is missing"), "f:2: in.wait: is missing")
	require.EqualError(t, src.Errorf("list", "is missing"), "f: list: is missing")
}

func TestEmptyFilesChangeNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "{}\n", "null\n"} {
		s := settings{name: "kept"}
		_, err := strictyaml.Read("f", []byte(text), s.fields())
		require.NoError(t, err, text)
		require.Equal(t, settings{name: "kept"}, s)
	}
}

func TestReadNamesLineAndField(t *testing.T) {
	for text, want := range map[string]string{
		"on: yes\n":                        `f:1: on: must be true or false, not "yes"`,
		"on: 1\n":                          `f:1: on: must be true or false, not "1"`,
		"name:\n":                          "f:1: name: must be a string, not nothing",
		"name: !!binary eA==\n":            `f:1: name: must be a string, not "eA=="`,
		"in: {count: 6}\n":                 "f:1: in.count: 6 is not between -5 and 5",
		"in:\n  wait: 2m\n":                "f:2: in.wait: 2m0s is not between 0s and 1m0s",
		"in:\n":                            "f:1: in: must be a mapping, not nothing",
		"table:\n  a: b\n  c: c\n":         "f:3: table.c: says nothing",
		"table: {a: b, a: c}\n":            "f:1: table.a: given twice, first in line 1",
		"table: &t\n  a: *t\n":             "f:2: table.a: must be a string or a number, not a mapping",
		"x: &x {count: 1}\n":               "f:1: x: unknown field; known are in, kind, list, name, on, table",
		"list:\n- a\n- b\n- {}\n":          "f:4: list.[2]: must be a string or a number, not a mapping",
		"name: \"a\\0\"\n":                 "f:1: name: must not contain NUL",
		strings.Repeat("y", 200) + ": 1\n": `f:1: "` + strings.Repeat("y", 64) + `" (200 bytes): unknown field; known are in, kind, list, name, on, table`,
		"on: true\n\tname: x\n":            "f:2: not YAML: found a tab character that violates indentation",
	} {
		_, err := strictyaml.Read("f", []byte(text), new(settings).fields())
		require.EqualError(t, err, want)
	}
}

func ExampleReadFile() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "tea.yaml")
	_ = os.WriteFile(file, []byte("sort: assam\nminutes: 30\n"), 0o600)

	var sort string
	minutes := 3
	_, err = strictyaml.ReadFile(file, strictyaml.Fields{
		"sort":    strictyaml.String(&sort),
		"minutes": strictyaml.Int(&minutes, 1, 10),
	})
	fmt.Println(strings.TrimPrefix(err.Error(), dir+"/"))
	// Output: tea.yaml:2: minutes: 30 is not between 1 and 10
}
