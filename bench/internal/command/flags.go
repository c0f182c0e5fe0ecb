package command

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Words is a flag: words that must be among those known.
type Words struct {
	Chosen *[]string
	Known  []string
}

func (w Words) String() string {
	if w.Chosen == nil {
		return ""
	}
	return strings.Join(*w.Chosen, ",")
}

// Set implements flag.Value.
func (w Words) Set(text string) error {
	*w.Chosen = nil
	for _, word := range split(text) {
		if !slices.Contains(w.Known, word) {
			return fmt.Errorf("%q is none of %s", word, strings.Join(w.Known, ", "))
		}
		*w.Chosen = append(*w.Chosen, word)
	}
	return nil
}

// Sizes is a flag: numbers of MiB.
type Sizes []int

func (s *Sizes) String() string {
	var words []string
	for _, n := range *s {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, ",")
}

// Set implements flag.Value.
func (s *Sizes) Set(text string) error {
	*s = nil
	for _, word := range split(text) {
		n, err := strconv.ParseUint(word, 10, 20)
		if err != nil {
			return fmt.Errorf("%q is no size in MiB", word)
		}
		*s = append(*s, int(n))
	}
	return nil
}

// split splits at commas; nothing is no word.
func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
