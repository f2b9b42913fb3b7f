// Package texts knows what the programs of the qmail family say when something fails: each
// text with its program, class, codes, cause and remedy (qmail reference 4.3, 5.3, 7.3, 7.6, 8,
// 9, 11, 12, 14, 15, 18, 22; Life with qmail, A.6). It is data for those who explain bounces and
// logs; what this server says itself is in package reason.
package texts

import "strings"

// Class is what a failure means for the message.
type Class uint8

const (
	Temporary Class = iota // the message stays in the queue, or the client tries again
	Permanent              // the message bounces, or the client is told no
	Notice                 // a line of a log that says nothing of a recipient
)

// String returns "temporary", "permanent" or "notice".
func (c Class) String() string { return [...]string{"temporary", "permanent", "notice"}[c] }

// Text is one thing that a program says.
type Text struct {
	Program string
	// Words is the text, with "*" for what differs from case to case: names, errors, replies.
	Words  string
	Class  Class
	Reply  int    // the SMTP reply code; 0 where it is none
	Status string // the enhanced status code in the text; "" without
	Front  string // the one that stands before the text in a reply; "" without
	Exit   int    // the exit status that goes with it; 0 where there is none of its own
	Cause  string
	Remedy string
}

// All returns every text. The slice is the caller's.
func All() []Text {
	var out []Text
	for _, part := range [][]Text{local(), spawners(), remote(), smtpd(), netservers(), clients(), send(), inject(), tools(), pop3()} {
		for _, t := range part {
			if t.Status == "" {
				t.Status = status(t.Words)
			}
			out = append(out, t)
		}
	}
	return out
}

// status takes the code out of "(#5.1.1)".
func status(words string) string {
	_, code, ok := strings.Cut(words, "(#")
	if code, _, end := strings.Cut(code, ")"); ok && end {
		return code
	}
	return ""
}

// Plain makes the forms that a text takes in bounces and in logs alike.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '_', '\t', '\n', '/':
			return ' '
		}
		return r
	}, s)
}

// MatchWords looks for words with stars in s, both as Plain has them, and returns what stood for the stars. A
// star takes as little as it can, and at most a line.
func MatchWords(s, words string) (args []string, ok bool) {
	parts := strings.Split(words, "*")
	at := strings.Index(s, parts[0])
	if at < 0 {
		return nil, false
	}
	rest := s[at+len(parts[0]):]
	for i, part := range parts[1:] {
		if part == "" && i == len(parts)-2 { // a star at the end takes the rest
			return append(args, rest), true
		}
		n := strings.Index(rest, part)
		if n < 0 {
			return nil, false
		}
		args = append(args, rest[:n])
		rest = rest[n+len(part):]
	}
	return args, true
}
