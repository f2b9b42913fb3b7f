package headers

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/mime"
	"github.com/postilion/postilion/internal/smtp"
)

// This file takes the header checks of a sendmail.cf as they stand (qmail reference 25.7; sendmail's Operation Guide 5.1.4):
// H lines that call a ruleset, and of such rulesets the rules that end in an error or let pass. What rewrites is
// refused with its line, since leaving it out would change what the rest means.

// cf is what is read of a sendmail.cf.
type cf struct {
	path   string
	macros map[string]string // by name, without braces
	hooks  []cfHook
	sets   map[string][]cfRule // by name in lower case
}

type cfHook struct {
	line     int
	field    string // in lower case; "*" is every field that has no hook of its own
	comments bool   // $>+: comments stay
	ruleset  string
}

type cfRule struct {
	line        int
	left, right string
}

// parseSendmail reads a sendmail.cf. The error joins one for each mistake in what concerns headers.
func parseSendmail(path string, content []byte) (*table, error) {
	c := &cf{path: path, macros: map[string]string{}, sets: map[string][]cfRule{}}
	var errs []error
	wrong := func(line int, err error) { errs = append(errs, fmt.Errorf("%s:%d: %w", path, line, err)) }
	c.read(string(content))
	t := &table{path: path, top: true}
	for _, h := range c.hooks {
		rules, ok := c.sets[strings.ToLower(h.ruleset)]
		if !ok {
			wrong(h.line, fmt.Errorf("there is no ruleset %s", shown(h.ruleset)))
		}
		for _, cr := range rules {
			r, err := c.rule(h, cr)
			if err != nil {
				wrong(cr.line, err)
			}
			if len(errs) >= maxMistakes || len(t.rules) >= maxRules {
				break
			}
			t.add(r)
		}
	}
	if len(errs) == 0 && len(t.rules) == 0 {
		return nil, fmt.Errorf("%s: no H line calls a ruleset that looks at a header", path)
	}
	return t, errors.Join(errs...)
}

// read takes the lines that matter: D, H, S and R. Those that begin with a blank belong to the one before.
func (c *cf) read(content string) {
	n, set := 0, ""
	for line := range strings.Lines(content) {
		n++
		if line = strings.TrimRight(line, " \t\r\n"); len(line) < 2 {
			continue
		}
		rest := line[1:]
		switch line[0] {
		case 'D':
			if name, value := cfName(rest); name != "" {
				c.macros[name] = strings.Trim(strings.TrimSpace(value), `"`)
			}
		case 'H':
			c.hook(n, rest)
		case 'S':
			name, _, _ := strings.Cut(rest, "=")
			set = strings.ToLower(strings.TrimSpace(name))
			if _, known := c.sets[set]; !known {
				c.sets[set] = nil
			}
		case 'R':
			left, right, _ := strings.Cut(rest, "\t")
			right, _, _ = strings.Cut(strings.TrimLeft(right, "\t"), "\t") // a third column is a comment
			c.sets[set] = append(c.sets[set], cfRule{n, left, right})
		}
	}
}

// cfName reads the name of a macro: one letter, or a word in braces.
func cfName(s string) (name, rest string) {
	if strings.HasPrefix(s, "{") {
		name, rest, _ = strings.Cut(s[1:], "}")
		return name, rest
	}
	return s[:1], s[1:]
}

// hook reads an H line; those that call no ruleset define fields of sendmail's own messages.
func (c *cf) hook(n int, s string) {
	if strings.HasPrefix(s, "?") { // flags of mailers that want the field
		_, s, _ = strings.Cut(s[1:], "?")
	}
	name, value, ok := strings.Cut(s, ":")
	value = strings.TrimSpace(value)
	if !ok || !strings.HasPrefix(value, "$>") {
		return
	}
	h := cfHook{line: n, field: strings.ToLower(strings.TrimSpace(name))}
	value, h.comments = strings.CutPrefix(value[2:], "+")
	h.ruleset, _ = cutWord(strings.TrimLeft(value, " \t"))
	c.hooks = append(c.hooks, h)
}

// rule makes a rule of ours of one of sendmail's.
func (c *cf) rule(h cfHook, cr cfRule) (rule, error) {
	r := rule{line: cr.line, kind: oneField, field: h.field, within: -1}
	if cr.right == "" {
		return r, fmt.Errorf("%s: want a tab between the left and the right side", shown(cr.left))
	}
	left, err := c.expand(cr.left)
	if err != nil {
		return r, err
	}
	pattern, err := cfPattern(left)
	if err != nil {
		return r, err
	}
	if err := r.compile(pattern, ""); err != nil {
		return r, err
	}
	if h.field == "*" {
		// The value alone is looked at, and only of fields without a hook of their own.
		r.field, r.except = "", c.named()
	}
	r.bare = !h.comments
	r.action, err = c.action(cr.right)
	return r, err
}

// named lists the fields that have hooks of their own.
func (c *cf) named() (list []string) {
	for _, h := range c.hooks {
		if h.field != "*" {
			list = append(list, h.field)
		}
	}
	return list
}

// expand replaces ${name} by what D lines say. In what is left, $ begins something else.
func (c *cf) expand(s string) (string, error) {
	var b strings.Builder
	s = strings.ReplaceAll(s, "$&{", "${") // the value of this moment
	for {
		before, rest, ok := strings.Cut(s, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		value, known := c.macros[name]
		switch {
		case !ok:
			return "", fmt.Errorf("%s: want a closing brace", shown(s))
		case !known:
			return "", fmt.Errorf("no D line says what ${%s} is", cut(name, 60))
		case b.Len() > maxPattern:
			return "", errors.New("the line is too long")
		}
		b.WriteString(value)
		s = after
	}
}

// operators part tokens beside blanks: OperatorChars, and those that always do.
const operators = `.:%@!^/[]+()<>,;\"=`

// cfPattern makes a pattern of a left side. Blanks part tokens and mean nothing else; case does not matter.
func cfPattern(left string) (string, error) {
	const token = `(?:[^\s` + `.:%@!^/\[\]+()<>,;\\"=` + `]+|[` + `.:%@!^/\[\]+()<>,;\\"=` + `])`
	var b strings.Builder
	b.WriteString(`^\s*`)
	word := false // the token before is a word
	for s := strings.TrimSpace(left); s != ""; s = strings.TrimLeft(s, " \t") {
		if s[0] == '$' {
			if len(s) < 2 {
				return "", fmt.Errorf("%s: want something behind the $", shown(left))
			}
			switch s[1] {
			case '*':
				b.WriteString(`.*?\s*`)
			case '+':
				b.WriteString(`\S.*?\s*`)
			case '-':
				b.WriteString(token + `\s*`)
			case '@': // nothing at all
			default:
				return "", fmt.Errorf("%s: of the left side $*, $+, $-, $@ and ${name} can be read, classes and the like cannot", shown(s))
			}
			s, word = s[2:], false
			continue
		}
		if strings.IndexByte(operators, s[0]) >= 0 {
			b.WriteString(regexp.QuoteMeta(s[:1]) + `\s*`)
			s, word = s[1:], false
			continue
		}
		end := strings.IndexAny(s, " \t$"+operators)
		if end < 0 {
			end = len(s)
		}
		if word { // two words in a row have a blank between them
			b.WriteString(`\s+`)
		}
		b.WriteString(regexp.QuoteMeta(s[:end]) + `\s*`)
		s, word = s[end:], true
	}
	return b.String() + `$`, nil
}

// action reads a right side: "$#error $@ 5.7.1 $: 501 text", "$#discard $: discard", or one that lets pass.
func (c *cf) action(right string) (a action, err error) {
	if right, err = c.expand(right); err != nil {
		return a, err
	}
	mailer, rest, ok := strings.Cut(right, "$#")
	if !ok || strings.TrimSpace(mailer) != "" {
		if right = strings.ToUpper(strings.TrimLeft(right, "$:@ ")); right == "OK" {
			return action{verb: pass}, nil
		}
		return a, fmt.Errorf("%s: want $#error, $#discard or OK on the right side: values are not rewritten", shown(right))
	}
	host, text, _ := strings.Cut(rest, "$:")
	mailer, host, _ = strings.Cut(host, "$@")
	host, text = strings.TrimSpace(host), strings.TrimSpace(strings.Trim(strings.TrimSpace(text), `"`))
	switch strings.TrimSpace(mailer) {
	case "discard": // what is to vanish is refused
		return action{verb: reject, code: 550, status: "5.7.1", text: rejected}, nil
	case "quarantine":
		return action{verb: hold, text: cut(text, maxText)}, nil
	case "error":
	default:
		return a, fmt.Errorf("%s: want $#error, $#discard or $#quarantine: mail is not routed by its header", shown(right))
	}
	a = action{verb: reject, code: 553, status: "5.0.0", text: text}
	if smtp.IsEnhanced(host) {
		a.text = host + " " + text
		if word, rest := cutWord(text); isCode(word) {
			a.text = word + " " + host + " " + rest
		}
	} else if word, _ := cutWord(text); !isCode(word) {
		a.text = "553 " + text
	}
	if err := a.reply(); err != nil {
		return a, err
	}
	a.text = strings.ReplaceAll(a.text, "$", "$$") // groups have other numbers in sendmail
	return a, nil
}

// excepted reports whether a rule does not look at a field, since that has a hook of its own.
func (r *rule) excepted(field string) bool { return slices.Contains(r.except, field) }

// withoutComments removes the comments of texts (RFC 5322 3.2.2), as a ruleset sees values that H calls with $> and
// not with $>+.
func withoutComments(texts []string) []string {
	out := make([]string, len(texts))
	for i, s := range texts {
		if out[i] = s; strings.Contains(s, "(") {
			out[i] = strings.TrimSpace(mime.WithoutComments(s))
		}
	}
	return out
}
