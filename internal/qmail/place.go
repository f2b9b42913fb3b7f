package qmail

import (
	"iter"
	"strconv"
	"strings"
)

// Place is a line of a file that users write: where an entry stands, or what is wrong.
// Line counts from 1; 0 means the file as a whole, as for a compiled database.
type Place struct {
	File string
	Line int
}

// String returns FILE:LINE, or FILE alone without a line.
func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Fault is an error in a file that users write. Text says what was found and what was
// expected, in one line; bytes of the file in it are quoted, so that it may be printed.
type Fault struct {
	Place
	Text string
}

// Error returns FILE:LINE: text.
func (f *Fault) Error() string { return f.Place.String() + ": " + f.Text }

// Lines yields the lines of data with their numbers from 1, without their line feeds. A
// last line needs no line feed; nothing after the last one is no line.
func Lines(data []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		rest := string(data)
		for n := 1; rest != ""; n++ {
			line, after, _ := strings.Cut(rest, "\n")
			if !yield(n, line) {
				return
			}
			rest = after
		}
	}
}

// Lower lowers the ASCII letters of s and no others, as the family compares addresses.
func Lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
