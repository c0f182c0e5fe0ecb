package control

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf8"

	understudyv1 "understudy/proto/understudy/v1"
)

// DecodeToWorkerFast is DecodeToWorker with a faster way for an activation in
// the form in which Encode writes it. To be rid of the fast way, delete this file
// and its test, and call DecodeToWorker.
func DecodeToWorkerFast(b []byte) (*understudyv1.ToWorker, error) {
	if len(b) <= MaxMessage {
		if m := parseActivation(b); m != nil {
			return m, nil
		}
	}
	return DecodeToWorker(b)
}

// parseActivation reads an activation in the form in which Encode writes it,
// and returns nil for everything else, which the library then reads or refuses.
// A standby reads one activation in its life, while clients wait: the library's
// code for every schema took 80 µs of that under a profiler, of 0.77 ms in all.
// See BenchmarkDecodeActivation for both when they are warm.
func parseActivation(b []byte) *understudyv1.ToWorker {
	p := &parser{rest: b}
	var a *understudyv1.Activate
	p.message(func(name string) {
		if name != "activate" {
			p.fail()
			return
		}
		a = &understudyv1.Activate{}
		p.message(func(name string) { p.activation(a, name) })
	})
	p.space()
	if a == nil || p.failed || len(p.rest) > 0 {
		return nil
	}
	return &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Activate{Activate: a}}
}

func (p *parser) activation(a *understudyv1.Activate, name string) {
	switch name {
	case "process_id":
		a.ProcessId = p.text()
	case "pattern":
		a.Pattern = p.text()
	case "epoch":
		a.Epoch = p.number()
	case "key":
		a.Key = &understudyv1.Key{}
		p.message(func(name string) {
			switch name {
			case "region":
				a.Key.Region = p.text()
			case "namespace":
				a.Key.Namespace = p.text()
			case "session":
				a.Key.Session = p.text()
			case "level":
				a.Key.Level = p.text()
			default:
				p.fail()
			}
		})
	case "config":
		a.Config = make(map[string]string)
		p.object(func(name string) {
			if _, twice := a.Config[name]; twice {
				p.fail()
			}
			a.Config[name] = p.text()
		})
	case "listeners":
		p.list(func() {
			l := &understudyv1.Listener{}
			a.Listeners = append(a.Listeners, l)
			p.message(func(name string) {
				switch name {
				case "name":
					l.Name = p.text()
				case "network":
					l.Network = p.text()
				case "address":
					l.Address = p.text()
				default:
					p.fail()
				}
			})
		})
	case "segments":
		p.list(func() {
			s := &understudyv1.Segment{}
			a.Segments = append(a.Segments, s)
			p.message(func(name string) {
				switch name {
				case "name":
					s.Name = p.text()
				case "size":
					s.Size = p.number()
				case "path":
					s.Path = p.text()
				default:
					p.fail()
				}
			})
		})
	case "takeover":
		a.Takeover = p.truth()
	default:
		p.fail()
	}
}

// parser reads the plainest JSON: texts without escapes, no null, no name
// twice. After a failure it finds nothing more.
type parser struct {
	rest   []byte
	failed bool
}

func (p *parser) fail() { p.rest, p.failed = nil, true }

func (p *parser) space() { p.rest = bytes.TrimLeft(p.rest, " \t\r\n") }

// next takes a character if it is there.
func (p *parser) next(c byte) bool {
	p.space()
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) must(c byte) {
	if !p.next(c) {
		p.fail()
	}
}

// object calls member for each name, to read the value.
func (p *parser) object(member func(name string)) {
	p.sequence('{', '}', func() {
		name := p.text()
		p.must(':')
		member(name)
	})
}

// message is an object whose few names come once each.
func (p *parser) message(field func(name string)) {
	var names [8]string // more than a message has; field fails for what it does not know
	seen := names[:0]
	p.object(func(name string) {
		if slices.Contains(seen, name) {
			p.fail()
		}
		seen = append(seen, name)
		field(name)
	})
}

func (p *parser) list(element func()) { p.sequence('[', ']', element) }

func (p *parser) sequence(open, shut byte, element func()) {
	p.must(open)
	if p.failed || p.next(shut) {
		return
	}
	for !p.failed {
		element()
		if p.next(shut) {
			return
		}
		p.must(',')
	}
}

// text reads a text without escapes.
func (p *parser) text() string {
	p.must('"')
	end := bytes.IndexByte(p.rest, '"')
	if end < 0 {
		p.fail()
		return ""
	}
	s := p.rest[:end]
	for _, c := range s {
		if c < ' ' || c == '\\' {
			p.fail()
			return ""
		}
	}
	if !utf8.Valid(s) {
		p.fail()
		return ""
	}
	p.rest = p.rest[end+1:]
	return string(s)
}

// truth reads true or false.
func (p *parser) truth() bool {
	p.space()
	rest, isTrue := bytes.CutPrefix(p.rest, []byte("true"))
	if !isTrue {
		var isFalse bool
		if rest, isFalse = bytes.CutPrefix(p.rest, []byte("false")); !isFalse {
			p.fail()
			return false
		}
	}
	p.rest = rest
	return isTrue
}

// number reads a 64-bit number, which is a text in the JSON of protocol
// buffers.
func (p *parser) number() uint64 {
	s := p.text()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || len(s) > 1 && s[0] == '0' {
		p.fail()
	}
	return n
}
