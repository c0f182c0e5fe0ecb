package shmregistry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"understudy/shmregistry/segment"
)

// The name of a segment's file is understudy.INSTANCE.BINDING.EPOCH.NAME. It is
// for people to read and for programs to open: only letters, digits, '_', '-'
// and '.', and at most maxFileName bytes, so that shm_open(3) and the trackers of
// language runtimes take it. (That of Python separates its fields by ':'.) What
// the file is stands in the label of its header.
const (
	namePrefix  = "understudy."
	maxFileName = 96 // 11 + 8 + 1 + maxBinding + 1 + 20 + 1 + maxSegment

	maxBinding  = 32
	maxSegment  = 22
	shortDigits = 16 // of the hash in a part that is not itself
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

// part is s as a part of a file name: itself where its characters and its length
// allow that, else its beginning, with '-' for what cannot be, and a hash.
func part(s string, most int) string {
	b := []byte(s)
	for n, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			b[n] = '-'
		}
	}
	if len(b) <= most && string(b) == s {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return string(b[:min(len(b), most-1-shortDigits)]) + "-" + hex.EncodeToString(sum[:shortDigits/2])
}

// label is what a segment's header says of it, as JSON.
type label struct {
	Binding string `json:"process_id"`
	Epoch   uint64 `json:"epoch,string"` // that it was made for
	Segment string `json:"segment"`
}

func (l label) String() string {
	b, _ := json.Marshal(l) // strings and a number: cannot fail
	return string(b)
}

func (l label) fileName(i instance) string {
	return i.prefix() + part(l.Binding, maxBinding) + "." + strconv.FormatUint(l.Epoch, 10) + "." + part(l.Segment, maxSegment)
}

// readLabel reads the label of the segment behind fd. ok is false where it is not
// the one of a file of this name.
func readLabel(i instance, fd int, file string) (l label, ok bool) {
	text, err := segment.ReadLabel(fd)
	if err != nil || json.Unmarshal([]byte(text), &l) != nil {
		return l, false
	}
	return l, l.Binding != "" && validName(l.Segment) == nil && l.fileName(i) == file
}

// ours reports whether a name has the form of a segment's of this registry.
func (i instance) ours(file string) bool { return strings.HasPrefix(file, i.prefix()) }
