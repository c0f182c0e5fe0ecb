package shmregistry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// The name of a segment's file is understudy.INSTANCE.BINDING.EPOCH.NAME. It is at most 202 bytes long: a file's may
// have 255 (NAME_MAX), a memfd's 249 (memfd_create(2)).
const (
	namePrefix = "understudy."
	maxToken   = 96
)

// instance is a registry's identity: random, made once, kept with its file.
type instance [16]byte

func (i instance) String() string { return hex.EncodeToString(i[:]) }

// short is the part of the identity that names carry; headers carry all of it.
func (i instance) short() string { return i.String()[:8] }

func (i instance) prefix() string { return namePrefix + i.short() + "." }

func parseInstance(s string) (instance, error) {
	var i instance
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(i) {
		return i, fmt.Errorf("instance %.40q, expected %d hexadecimal digits", s, 2*len(i))
	}
	return instance(b), nil
}

// token is a binding as a part of a file name: itself, with what is not a letter, a digit, ':', '_' or '-' as %XX, or
// where that is long "~" and a hash of it. A token of that kind is its own: it stands for a binding whose name only
// the hash is known of.
func token(binding string) string {
	if isHash(binding) {
		return binding
	}
	var b strings.Builder
	for i := range len(binding) {
		switch c := binding[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == ':', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() > maxToken {
		sum := sha256.Sum256([]byte(binding))
		return "~" + hex.EncodeToString(sum[:16])
	}
	return b.String()
}

func isHash(tok string) bool {
	if len(tok) != 1+2*16 || tok[0] != '~' {
		return false
	}
	_, err := hex.DecodeString(tok[1:])
	return err == nil && strings.ToLower(tok) == tok
}

// bindingOf is the binding that a token stands for; a hash stands for itself until somebody asks for the binding.
func bindingOf(tok string) string {
	if s, err := url.PathUnescape(tok); err == nil {
		return s
	}
	return tok
}

func fileName(i instance, tok string, epoch uint64, name string) string {
	return i.prefix() + tok + "." + strconv.FormatUint(epoch, 10) + "." + name
}

// parseFileName takes a name apart; ok is false where it is not exactly as this registry would have written it.
func parseFileName(i instance, file string) (tok string, epoch uint64, name string, ok bool) {
	rest, ours := strings.CutPrefix(file, i.prefix())
	parts := strings.Split(rest, ".")
	if !ours || len(parts) != 3 || validName(parts[2]) != nil {
		return "", 0, "", false
	}
	epoch, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return "", 0, "", false
	}
	tok = parts[0]
	if token(bindingOf(tok)) != tok || fileName(i, tok, epoch, parts[2]) != file {
		return "", 0, "", false
	}
	return tok, epoch, parts[2], true
}
