// Package explain finds out what a line means that somebody pastes: of a bounce, a reply, a log of this
// server's or of another one's, a code. It knows the reasons of this server, the texts of the qmail family,
// status, reply and exit codes, and lines of the log, each with its cause and remedy in three languages.
//
// What is asked about is never interpreted, only compared; it comes back in Args as it was and must be
// escaped by whoever prints it.
package explain

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/qmail/texts"
	"github.com/postilion/postilion/internal/reason"
)

// Kind is what an Entry is about.
type Kind string

// The kinds.
const (
	Program Kind = "program" // a text that a program of the qmail family says, or another's
	Reason  Kind = "reason"  // a reason of this server
	Log     Kind = "log"     // a line of this server's log
	Status  Kind = "status"  // an enhanced status code
	Reply   Kind = "reply"   // an SMTP reply code
	Exit    Kind = "exit"    // an exit code
)

// Entry is one thing that is known.
type Entry struct {
	Kind   Kind
	Name   string // the program, reason or code
	Words  string // the text, with "*" for what differs from case to case
	Class  string // "temporary", "permanent", "notice"; "" where the text alone does not tell
	Args   []string
	Cause  string
	Remedy string
	Near   bool // it only resembles what was asked about
}

// entry is an Entry before a language was chosen.
type entry struct {
	kind        Kind
	name, class string
	words       []string // the text in each language it exists in
	plain       []string // words as they are compared
	told
}

// Catalogue is everything that is known. It is safe for concurrent use.
type Catalogue struct {
	entries []entry
	indices [3]index // by language
}

// New makes the catalogue.
func New() *Catalogue {
	c := new(Catalogue)
	for _, t := range texts.All() {
		e := entry{kind: Program, name: t.Program, class: t.Class.String(), words: []string{t.Words}}
		for _, lang := range languages {
			e.cause[lang], e.remedy[lang] = t.Told(lang.Tag())
		}
		c.add(e)
	}
	for _, id := range reason.IDs() {
		e := entry{kind: Reason, name: id}
		for _, lang := range languages {
			e.words = append(e.words, reason.Explained(reason.ID(id), lang))
			e.cause[lang], e.remedy[lang], _ = reason.Advice(reason.ID(id), lang)
		}
		c.add(e)
	}
	for message, t := range logLines {
		c.add(entry{kind: Log, name: "postilion", words: []string{message}, told: t})
	}
	for _, f := range foreign() {
		c.add(entry{kind: Program, name: f.program, class: "", words: []string{f.words}, told: f.told})
	}
	for detail, t := range statuses {
		c.add(entry{kind: Status, name: detail, told: t})
	}
	for code, t := range replies {
		c.add(entry{kind: Reply, name: code, told: t})
	}
	for code, t := range exits {
		c.add(entry{kind: Exit, name: strconv.Itoa(code), told: t})
	}
	slices.SortStableFunc(c.entries, func(a, b entry) int { return rank(a.kind) - rank(b.kind) })
	return c
}

var languages = []reason.Language{reason.English, reason.Korean, reason.Japanese}

// rank orders kinds: what is more particular comes first.
func rank(k Kind) int {
	return slices.Index([]Kind{Program, Reason, Log, Status, Reply, Exit}, k)
}

func (c *Catalogue) add(e entry) {
	for _, w := range e.words {
		e.plain = append(e.plain, texts.Plain(w))
	}
	c.entries = append(c.entries, e)
}

// in tells an entry in a language.
func (e *entry) in(lang reason.Language, args []string) Entry {
	x := Entry{Kind: e.kind, Name: e.name, Class: e.class, Args: args, Cause: e.cause[lang], Remedy: e.remedy[lang]}
	switch {
	case len(e.words) > int(lang):
		x.Words = e.words[lang]
	case len(e.words) > 0:
		x.Words = e.words[0]
	}
	return x
}

// All returns everything that is known, in a language.
func (c *Catalogue) All(lang reason.Language) (list []Entry) {
	for i := range c.entries {
		list = append(list, c.entries[i].in(lang, nil))
	}
	return list
}

// maxLine is how much of a line is looked at, in bytes.
const maxLine = 64 << 10

// Find returns what occurs in a line: texts, names of reasons, and, where nothing more particular says
// the same, codes.
func (c *Catalogue) Find(s string, lang reason.Language) []Entry {
	s = s[:min(len(s), maxLine)]
	out := c.words(s, lang)
	if out == nil {
		out = c.named(s, lang)
	}
	if out == nil {
		out = c.codes(s, lang)
	}
	return out
}

// match is a text that was found.
type match struct {
	e     *entry
	plain string // the words that were found
	args  []string
}

// words finds texts. Of one that is part of another only the longer is told, of two alike the first.
func (c *Catalogue) words(s string, lang reason.Language) (out []Entry) {
	var found []match
	plain := texts.Plain(s)
	for i := range c.entries {
		e := &c.entries[i]
		for _, w := range e.plain {
			if !telling(w) {
				continue
			}
			if args, ok := texts.MatchWords(plain, w); ok {
				found = append(found, match{e, w, args})
				break
			}
		}
	}
	for i, m := range found {
		inside := strings.Trim(m.plain, "* .")
		part := false
		for j, other := range found {
			part = part || j != i && strings.Contains(other.plain, inside) && (len(strings.Trim(other.plain, "* .")) > len(inside) || j < i && sameSpeaker(m.e, other.e))
		}
		if !part {
			out = append(out, m.e.in(lang, m.args))
		}
	}
	return out
}

// sameSpeaker reports whether two entries of the same words need not both be told: what this server says in
// the family's words is told once, but several of its reasons may have the same words.
func sameSpeaker(a, b *entry) bool { return a.kind != b.kind || a.kind != Reason && a.name == b.name }

// telling reports whether a text says enough by itself to be looked for: one of stars alone, or of a
// word as common as "message 0", would be found everywhere.
func telling(w string) bool {
	letters := 0
	for _, r := range w {
		if r >= 0x1100 {
			letters += 2
		} else if r > ' ' && r != '*' {
			letters++
		}
	}
	return letters >= 8
}

var reasonName = regexp.MustCompile(`[a-z0-9]+(?:-[a-z0-9]+)+|\breason[="': ]+[a-z0-9-]+|^[a-z]+$`)

// named finds names of reasons, as in a log's reason=relay-denied.
func (c *Catalogue) named(s string, lang reason.Language) (out []Entry) {
	names := reasonName.FindAllString(s, 100)
	for i, n := range names {
		names[i] = n[strings.LastIndexAny(n, `="': `)+1:]
	}
	for i := range c.entries {
		if e := &c.entries[i]; e.kind == Reason && slices.Contains(names, e.name) {
			out = append(out, e.in(lang, nil))
		}
	}
	return out
}

var (
	statusCode = regexp.MustCompile(`(?:^|[^0-9A-Za-z.])([245])\.(\d{1,3}\.\d{1,3})(?:[^0-9A-Za-z.-]|\.?$|\.[^0-9])`)
	// Sizes and times are numbers too: a reply code stands at the start, or behind a word that tells it is one.
	replyCode = regexp.MustCompile(`(?:^|said:? |code[=: ]+|reply[=: ]+|smtp; |[<("'])([45]\d\d)(?:[ .)"'-]|$)`)
	exitCode  = regexp.MustCompile(`(?i)exit(?:ed|s)?(?:[ _-]?(?:status|code|with))*[ =:]*(\d{1,5})`)
)

// codes finds numbers.
func (c *Catalogue) codes(s string, lang reason.Language) (out []Entry) {
	class := map[byte]string{'4': reason.Temporary.String(), '5': reason.Permanent.String(), '2': ""}
	for _, m := range statusCode.FindAllStringSubmatch(s, 10) {
		out = c.code(out, Status, m[2], m[1]+"."+m[2], class[m[1][0]], lang)
	}
	for _, m := range exitCode.FindAllStringSubmatch(s, 10) {
		n, _ := strconv.Atoi(m[1])
		if n > 255 && n%256 == 0 {
			n /= 256 // tcpserver's raw status (qmail reference 22.1)
		}
		out = c.code(out, Exit, strconv.Itoa(n), strconv.Itoa(n), "", lang)
	}
	if out != nil {
		return out
	}
	for _, m := range replyCode.FindAllStringSubmatch(s, 10) {
		code := m[1]
		out = c.code(out, Reply, code, code, class[code[0]], lang)
		// Some logs write 5.1.1 as 511.
		dotted := code[1:2] + "." + code[2:]
		out = c.code(out, Status, dotted, code[:1]+"."+dotted, class[code[0]], lang)
	}
	return out
}

// code adds the entry of a code, once.
func (c *Catalogue) code(out []Entry, kind Kind, name, shown, class string, lang reason.Language) []Entry {
	for i := range c.entries {
		if e := &c.entries[i]; e.kind == kind && e.name == name {
			x := e.in(lang, nil)
			x.Name, x.Class = shown, class
			if !slices.ContainsFunc(out, func(o Entry) bool { return o.Kind == kind && o.Name == shown }) {
				out = append(out, x)
			}
		}
	}
	return out
}
