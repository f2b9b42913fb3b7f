package explain

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/postilion/postilion/internal/reason"
)

// This file finds what resembles a line, for texts that were typed from memory, cut off, or worded a
// little otherwise. Words count by how rare they are among all texts.

const (
	maxNear     = 5    // entries that are offered
	maxTokens   = 200  // words of a line that are compared
	nearEnough  = 0.45 // part of the weight of a line's words that an entry must have
	fewestWords = 2    // that must be shared, so that one common word is no resemblance
)

// index is the words of all entries in one language; it is made when it is first needed.
type index struct {
	once  sync.Once
	words [][]string
	seen  map[string]int // entries that have a word
}

func (x *index) fill(entries []entry, lang reason.Language) {
	x.words, x.seen = make([][]string, len(entries)), map[string]int{}
	for i := range entries {
		e := &entries[i]
		x.words[i] = tokens(e.name + " " + strings.Join(e.words, " ") + " " + e.cause[lang])
		for _, t := range x.words[i] {
			x.seen[t]++
		}
	}
}

// Near returns entries that share rare words with a line, the nearest first.
func (c *Catalogue) Near(s string, lang reason.Language) (out []Entry) {
	asked := tokens(s[:min(len(s), maxLine)])
	x := &c.indices[lang]
	x.once.Do(func() { x.fill(c.entries, lang) })
	all, seen := x.words, x.seen
	known := 0
	for _, t := range asked {
		if seen[t] > 0 {
			known++
		}
	}
	type scored struct {
		i     int
		score float64
	}
	var list []scored
	for i, have := range all {
		var sum, total float64
		shared := 0
		for _, t := range asked {
			weight := 1 / float64(1+seen[t])
			if seen[t] == 0 {
				weight = 0.01 // names and addresses, mostly
			}
			total += weight
			if slices.ContainsFunc(have, func(h string) bool { return alike(t, h) }) {
				sum += weight
				shared++
			}
		}
		if total > 0 && sum/total >= nearEnough && shared >= max(1, min(fewestWords, known)) {
			list = append(list, scored{i, sum / total})
		}
	}
	slices.SortStableFunc(list, func(a, b scored) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	for _, found := range list[:min(len(list), maxNear)] {
		e := c.entries[found.i].in(lang, nil)
		e.Near = true
		out = append(out, e)
	}
	return out
}

// alike reports whether two words are the same but for an ending or a slip of the finger.
func alike(a, b string) bool {
	if a == b {
		return true
	}
	if len(a) < 5 || len(b) < 5 || a[0] >= 0x80 {
		return false
	}
	if strings.HasPrefix(a, b[:5]) && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
		return true
	}
	return oneSlip(a, b)
}

// oneSlip reports whether a becomes b by one letter changed, left out or put in, or two neighbours
// exchanged.
func oneSlip(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) != len(b) {
		return a[i:] == b[i+1:]
	}
	return i == len(a) || a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// tokens returns the words of a text: of Latin letters and digits with three or more of them, in small
// letters; of other scripts, which put no blanks or endings between words, pairs of characters.
func tokens(s string) (out []string) {
	add := func(t string) {
		if len(out) < maxTokens && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	for word := range strings.FieldsFuncSeq(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		runes := []rune(word)
		if runes[0] < 0x1100 {
			if len(word) >= 3 {
				add(word)
			}
			continue
		}
		for i := range len(runes) - 1 {
			add(string(runes[i : i+2]))
		}
	}
	return out
}
