package local

import (
	"bytes"
	"strings"

	"github.com/postilion/postilion/internal/reason"
)

// The report of a delivery is what its programs said and qmail-local's own line behind it. Its
// bounds are qmail-lspawn's (qmail reference 8.1).
const (
	reportMost = 3000 // bytes
	reportCut  = "\nError report too long, sorry.\n"
)

type report struct {
	text []byte
	cut  bool // there was more
	nul  bool // a NUL has ended the text
}

// add appends what a program said. more tells that it said more than that.
func (r *report) add(p []byte, more bool) {
	if r.nul {
		return
	}
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p, more, r.nul = p[:i], false, true
	}
	if room := reportMost + 1 - len(r.text); len(p) > room {
		p, more = p[:max(room, 0)], true
	}
	r.text = append(r.text, p...)
	r.cut = r.cut || more
}

// line appends a line of our own.
func (r *report) line(s string) { r.add([]byte(s+"\n"), false) }

// String returns the report, cut where it is too long.
func (r *report) String() string {
	if !r.cut && len(r.text) <= reportMost {
		return string(r.text)
	}
	return string(r.text[:min(len(r.text), reportMost-len(reportCut)-3)]) + reportCut
}

// status takes over the enhanced status code that programs of the family put behind their words,
// as in "(#5.7.1)", where it is of the error's class.
func (r *report) status(e *reason.Error) *reason.Error {
	s := r.String()
	i := strings.LastIndex(s, "(#")
	if i < 0 {
		return e
	}
	code, _, ok := strings.Cut(s[i+2:], ")")
	if ok && len(code) <= 9 && isStatus(code) && code[0] == e.Enhanced[0] {
		c := *e
		c.Enhanced = code
		return &c
	}
	return e
}

// isStatus is the grammar of RFC 3463 2.
func isStatus(s string) bool {
	f := strings.Split(s, ".")
	if len(f) != 3 || len(f[0]) != 1 {
		return false
	}
	for _, n := range f {
		if len(n) < 1 || len(n) > 3 || strings.Trim(n, "0123456789") != "" {
			return false
		}
	}
	return true
}
