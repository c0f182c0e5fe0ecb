// Package procid is the grammar of process ids, the stable names of bindings:
//
//	shared:PATTERN
//	ns:NAMESPACE:PATTERN
//	session:SESSION:PATTERN
//	session:NAMESPACE/SESSION:PATTERN   where the pattern has session_scope: namespace_session
//
// No pattern has a colon, no name a colon or a slash.
package procid

import "strings"

// Level says how much of a key counts.
type Level uint8

// The levels of isolation.
const (
	Shared Level = iota
	Namespace
	Session
)

const (
	sharedPrefix    = "shared:"
	namespacePrefix = "ns:"
	sessionPrefix   = "session:"
)

// ID is a process id taken apart. Names that its level does not look at are
// empty. At level Session an empty Namespace means that all namespaces share
// the session.
type ID struct {
	Level              Level
	Namespace, Session string
	Pattern            string
}

// String puts the id together.
func (i ID) String() string {
	switch i.Level {
	case Namespace:
		return namespacePrefix + i.Namespace + ":" + i.Pattern
	case Session:
		if i.Namespace != "" {
			return sessionPrefix + i.Namespace + "/" + i.Session + ":" + i.Pattern
		}
		return sessionPrefix + i.Session + ":" + i.Pattern
	}
	return sharedPrefix + i.Pattern
}

// Parse is the reverse of String. It copies nothing, and reports whether s has
// the form of a process id; whether the names in it are well formed is not
// looked at.
func Parse(s string) (i ID, ok bool) {
	if rest, shared := strings.CutPrefix(s, sharedPrefix); shared {
		return ID{Pattern: rest}, rest != ""
	}
	rest, ok := strings.CutPrefix(s, namespacePrefix)
	i.Level = Namespace
	if !ok {
		rest, ok = strings.CutPrefix(s, sessionPrefix)
		i.Level = Session
	}
	colon := strings.LastIndexByte(rest, ':')
	if !ok || colon < 0 {
		return ID{}, false
	}
	name := rest[:colon]
	i.Pattern = rest[colon+1:]
	if i.Level == Namespace {
		i.Namespace = name
		return i, name != "" && i.Pattern != ""
	}
	i.Session = name
	if slash := strings.IndexByte(name, '/'); slash >= 0 {
		i.Namespace, i.Session = name[:slash], name[slash+1:]
		ok = i.Namespace != ""
	}
	return i, ok && i.Session != "" && i.Pattern != ""
}
