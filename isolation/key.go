package isolation

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"understudy/internal/procid"
	"understudy/patterns"
)

// Level says how much of a key counts: which callers share one worker.
type Level uint8

// The isolation levels. LevelUnspecified means the manifest's level, else the
// configured default; a Key of a binding never has it.
const (
	LevelUnspecified Level = iota
	LevelNone
	LevelNamespace
	LevelSession
)

var levelNames = [...]string{"", "none", "namespace", "session"}

// String returns the level's name as manifests and process listings spell it.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// ParseLevel reads "none", "namespace" or "session"; "" is LevelUnspecified.
func ParseLevel(s string) (Level, error) {
	for i, n := range levelNames {
		if s == n {
			return Level(i), nil
		}
	}
	return 0, &FieldError{Field: "isolation", Reason: fmt.Sprintf("%s is none of none, namespace, session", quote(s))}
}

// Key is what is isolated. Only the part that its level looks at counts.
type Key struct {
	Region    string
	Namespace string
	Session   string
	Level     Level
}

// MaxNameLength is the longest namespace, session or region, in bytes.
const MaxNameLength = 253

// Reduce returns the key with everything cleared that its level does not look
// at, or a *FieldError naming the part that is missing or not well formed.
func (k Key) Reduce() (Key, error) {
	out := Key{Level: k.Level}
	switch k.Level {
	case LevelNone:
		return out, nil
	case LevelNamespace:
		out.Namespace = k.Namespace
		return out, checkName("namespace", k.Namespace)
	case LevelSession:
		out.Namespace, out.Session = k.Namespace, k.Session
		if k.Namespace != "" {
			if err := checkName("namespace", k.Namespace); err != nil {
				return out, err
			}
		}
		return out, checkName("session", k.Session)
	}
	return out, &FieldError{Field: "isolation", Reason: "no level given"}
}

// ProcessID is the stable name of the binding of pattern and k: the same for
// every key that reduces to the same one.
func (k Key) ProcessID(pattern string) string {
	return k.scoped(pattern, patterns.ScopeSession)
}

// scoped is ProcessID where the pattern says what a session belongs to.
func (k Key) scoped(pattern, scope string) string {
	id := procid.ID{Pattern: pattern}
	switch k.Level {
	case LevelNamespace:
		id.Level, id.Namespace = procid.Namespace, k.Namespace
	case LevelSession:
		id.Level, id.Session = procid.Session, k.Session
		if scope == patterns.ScopeNamespaceSession {
			id.Namespace = k.Namespace
		}
	}
	return id.String()
}

// FieldError says which field of a request is wrong and why.
type FieldError struct {
	Field  string
	Reason string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// checkName accepts what can stand in a process id, a log line and a shell
// argument without quoting surprises: letters and digits of any script, and
// the marks . _ @ + = - between them.
func checkName(field, s string) error {
	bad := func(format string, args ...any) error {
		return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case s == "":
		return bad("must not be empty at this isolation level")
	case len(s) > MaxNameLength:
		return bad("is %d bytes long, at most %d are allowed", len(s), MaxNameLength)
	case !utf8.ValidString(s):
		return bad("%s is not valid UTF-8", quote(s))
	case strings.Contains(s, ".."):
		return bad("%s contains \"..\"", quote(s))
	}
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._@+=-", r) {
			return bad("%s contains %q; allowed are letters, digits and . _ @ + = -", quote(s), r)
		}
	}
	return nil
}

// quote shows a value in an error, shortened: an error line has a bound too.
func quote(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%q (%d bytes)", s[:64], len(s))
	}
	return fmt.Sprintf("%q", s)
}
