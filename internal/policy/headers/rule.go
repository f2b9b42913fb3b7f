package headers

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/smtp"
)

// scope is which fields a file's rules look at; see Options.Files.
type scope uint8

const (
	everywhere scope = 0
	own        scope = 1 << iota // the message's own header, but for MIME fields
	mimeFields                   // Content-… and MIME-Version of the message, and all fields of its parts
	nested                       // the headers of messages within the message, but for MIME fields
)

// scopeOf tells what a field is of, as Postfix parts header_checks, mime_header_checks and
// nested_header_checks.
func scopeOf(where scope, field string) scope {
	if strings.HasPrefix(field, "content-") || field == "mime-version" {
		return mimeFields
	}
	return where
}

// kind is what a rule looks at.
type kind uint8

const (
	anyField   kind = iota // "Name: value" of every field
	oneField               // the values of the fields of one name, or of all where the rule has none
	attachment             // the names of attachments
)

// matcher is a pattern, or a value.
type matcher struct {
	not   bool
	re    *regexp.Regexp // nil for an exact value
	exact string         // folded
}

// rule is one line of a file.
type rule struct {
	matcher
	line   int
	kind   kind
	field  string // the field's name in lower case; "" for every field
	within int    // the condition around it; -1 without
	action action

	// Of sendmail's rules: fields that the rule does not look at, and whether it sees values without comments.
	except []string
	bare   bool
}

// cond is one if.
type cond struct {
	matcher
	line   int
	within int // the condition around it; -1 without
}

// table is the rules of one file. It does not change once it is in use.
type table struct {
	path  string
	scope scope
	top   bool // only the message's own header is looked at, all of it
	rules []rule
	conds []cond

	// The rules, by number, that can match a field of that name: the ones for every field included, in
	// order. common are those for names that no rule has.
	byField     map[string][]int
	common      []int
	attachments []int
	prepends    bool
}

func (t *table) add(r rule) { t.rules = append(t.rules, r) }

// seal makes the indices.
func (t *table) seal() {
	t.byField = map[string][]int{}
	for i := range t.rules {
		r := &t.rules[i]
		t.prepends = t.prepends || r.action.verb == prepend
		switch {
		case r.kind == attachment:
			t.attachments = append(t.attachments, i)
		case r.field == "":
			t.common = append(t.common, i)
		default:
			t.byField[r.field] = append(t.byField[r.field], i)
		}
	}
	for name, list := range t.byField {
		list = append(list, t.common...)
		slices.Sort(list)
		t.byField[name] = list
	}
}

// sees reports whether the rules look at a field of a header: in the message, in a part, in a message within it.
func (t *table) sees(label string, in scope) bool {
	if t.top {
		return label == ""
	}
	return t.scope == everywhere || t.scope&in != 0
}

// of returns the numbers of the rules that can match a field.
func (t *table) of(field string) []int {
	if list, ok := t.byField[field]; ok {
		return list
	}
	return t.common
}

// place names a rule: its file and line.
func (t *table) place(r *rule) string { return t.path + ":" + strconv.Itoa(r.line) }

// match reports whether one of the texts matches; with it that text, and the groups of the pattern in it.
func (m *matcher) match(texts []string) (text string, groups []int, ok bool) {
	for _, s := range texts {
		switch {
		case m.re == nil:
			ok = fold(s) == m.exact
		case m.not:
			ok = m.re.MatchString(s)
		default:
			groups = m.re.FindStringSubmatchIndex(s)
			ok = groups != nil
		}
		if ok {
			text = s
			break
		}
	}
	if m.not {
		return texts[0], nil, !ok
	}
	return text, groups, ok
}

// words is the action's text with what the groups matched, which a peer has said: made fit for a reply and a
// header field.
func (a *action) words(text string, groups []int) string {
	s, _ := expand(a.text, func(n int) (string, bool) {
		if 2*n+1 >= len(groups) || groups[2*n] < 0 {
			return "", true
		}
		return text[groups[2*n]:groups[2*n+1]], true
	})
	if a.verb == warn || a.verb == hold || a.verb == pass {
		return cut(strings.ToValidUTF8(s, "?"), maxText)
	}
	return smtp.Text(s, maxText)
}

// fold is a value as exact ones are compared: without regard to case, to blanks around it, and to how many blanks
// stand in a row.
func fold(s string) string { return strings.Join(strings.Fields(strings.ToLower(s)), " ") }
