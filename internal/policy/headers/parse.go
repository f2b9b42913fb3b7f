package headers

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/smtp"
)

// This file reads rules as Postfix's header_checks(5) has them, with exact values, single fields and
// names of attachments besides. A file with a mistake is refused as a whole, each mistake with its line.

const (
	maxFile     = 1 << 20 // bytes of a file
	maxRules    = 5000    // of a file
	maxPattern  = 2000    // bytes of a pattern
	maxSteps    = 5000    // that a pattern compiles to: what a byte of text may cost
	maxText     = 400     // bytes of an action's text
	maxMistakes = 20      // told of one file
	maxDepth    = 20      // of if in if
)

// parser reads one file.
type parser struct {
	path  string
	table *table
	open  []int // the conditions around the line at hand, outermost first
	errs  []error
}

// parseRules reads a file of rules. The error joins one for each mistake, with file and line.
func parseRules(path string, in scope, content []byte) (*table, error) {
	p := &parser{path: path, table: &table{path: path, scope: in}}
	for n, line := range logicalLines(string(content)) {
		if err := p.line(n, line); err != nil {
			p.wrong(n, err)
		}
		if len(p.errs) >= maxMistakes {
			break
		}
	}
	if len(p.open) > 0 && p.errs == nil {
		p.wrong(p.table.conds[p.open[len(p.open)-1]].line, errors.New("no endif follows this if"))
	}
	return p.table, errors.Join(p.errs...)
}

func (p *parser) wrong(n int, err error) {
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %w", p.path, n, err))
}

// logicalLines joins lines that begin with a blank to the one before (postconf(5)); comments and empty
// lines are left out. The number is that of the first line.
func logicalLines(content string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n, first, have := 0, 0, ""
		for line := range strings.Lines(content) {
			n++
			line = strings.TrimRight(line, " \t\r\n")
			switch trimmed := strings.TrimLeft(line, " \t"); {
			case trimmed == "" || trimmed[0] == '#':
				continue
			case trimmed != line && have != "":
				have += " " + trimmed
				continue
			}
			if have != "" && !yield(first, have) {
				return
			}
			first, have = n, strings.TrimLeft(line, " \t")
		}
		if have != "" {
			yield(first, have)
		}
	}
}

// line reads one logical line.
func (p *parser) line(n int, s string) error {
	if !utf8.ValidString(s) {
		return errors.New("want UTF-8: rules are compared with text in whatever character set")
	}
	if strings.ContainsRune(s, 0) {
		return errors.New("want a text file: the line has a NUL byte")
	}
	word, rest := cutWord(s)
	switch strings.ToLower(word) {
	case "if":
		return p.beginIf(n, rest)
	case "endif":
		if len(p.open) == 0 {
			return errors.New("no if stands before this endif")
		}
		p.open = p.open[:len(p.open)-1]
		return nil
	}
	if len(p.table.rules) >= maxRules {
		return fmt.Errorf("want at most %d rules in a file", maxRules)
	}
	r := rule{line: n, within: -1}
	rest, err := p.what(&r, s)
	if err != nil {
		return err
	}
	if len(p.open) > 0 {
		if r.within = p.open[len(p.open)-1]; r.kind == attachment {
			return errors.New("if looks at header fields: want rules for attachments outside of it")
		}
	}
	if r.action, err = readAction(strings.TrimSpace(rest), &r.matcher); err != nil {
		return err
	}
	if r.kind == attachment && r.action.verb == prepend {
		return errors.New("PREPEND adds to the header, which has gone by when attachments are seen: want a rule for header fields")
	}
	p.table.add(r)
	return nil
}

func (p *parser) beginIf(n int, s string) error {
	c := cond{line: n, within: -1}
	if len(p.open) > 0 {
		c.within = p.open[len(p.open)-1]
	}
	// Open it in any case: its endif belongs to it.
	p.table.conds = append(p.table.conds, c)
	at := len(p.table.conds) - 1
	p.open = append(p.open, at)
	if len(p.open) > maxDepth {
		return fmt.Errorf("want at most %d if inside one another", maxDepth)
	}
	var m matcher
	rest, err := m.read(s)
	if err == nil && strings.TrimSpace(rest) != "" {
		err = fmt.Errorf("%s: want the end of the line behind the pattern of an if", shown(rest))
	}
	p.table.conds[at].matcher = m
	return err
}

// fieldName is the grammar of RFC 5322 2.2 as far as names are letters, digits and the like.
var fieldName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// what reads what a rule looks at, and returns what stands behind.
func (p *parser) what(r *rule, s string) (rest string, err error) {
	switch {
	case isDelimiter(s[0]), s[0] == '!', s[0] == '"':
		r.kind = anyField
		if s[0] == '"' {
			return "", errors.New(`want the name of a field before an exact value, as in Subject: "ILOVEYOU"`)
		}
		if rest, err = r.read(s); err == nil {
			r.field = fieldOf(r)
		}
		return rest, err
	}
	word, rest := cutWord(s)
	name, isField := strings.CutSuffix(word, ":")
	switch {
	case isField && fieldName.MatchString(name):
		r.kind, r.field = oneField, strings.ToLower(name)
	case strings.EqualFold(word, "attachment"):
		r.kind = attachment
	case strings.Contains(word, ":"):
		return "", fmt.Errorf("%s: want a blank behind the colon, as in Subject: /pattern/ REJECT", shown(word))
	default:
		return "", fmt.Errorf("%s: want /pattern/, Field: /pattern/, Field: \"value\", attachment /pattern/, if or endif", shown(word))
	}
	return r.read(rest)
}

// isDelimiter tells what a pattern may stand between.
func isDelimiter(c byte) bool { return strings.IndexByte("/~|%,=@", c) >= 0 }

// read reads a pattern or an exact value, and returns what stands behind.
func (m *matcher) read(s string) (rest string, err error) {
	if s != "" && s[0] == '!' {
		m.not, s = true, strings.TrimLeft(s[1:], " \t")
	}
	if s == "" {
		return "", errors.New("want a pattern, as in /^Subject: ILOVEYOU/")
	}
	if s[0] == '"' {
		return m.readExact(s)
	}
	if !isDelimiter(s[0]) {
		return "", fmt.Errorf("%s: want a pattern in slashes, or a value in quotes", shown(s))
	}
	end := 1
	for end < len(s) && s[end] != s[0] {
		if s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s) {
		return "", fmt.Errorf("%s: the pattern has no %c at its end", shown(s), s[0])
	}
	pattern := s[1:end]
	if s[0] != '/' { // only a slash may be escaped in every pattern
		pattern = strings.ReplaceAll(pattern, `\`+s[:1], regexp.QuoteMeta(s[:1]))
	}
	flags, rest := s[end+1:], ""
	if i := strings.IndexAny(flags, " \t"); i >= 0 {
		flags, rest = flags[:i], flags[i:]
	}
	return rest, m.compile(pattern, flags)
}

// readExact reads "value", where \" and \\ stand for themselves.
func (m *matcher) readExact(s string) (rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if i+1 < len(s) && s[i+1] != ' ' && s[i+1] != '\t' {
				return "", fmt.Errorf("%s: want a blank behind the value", shown(s))
			}
			if m.exact = fold(b.String()); m.exact == "" {
				return "", errors.New("want a value that is not empty")
			}
			return s[i+1:], nil
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("%s: the value has no quote at its end", shown(s))
}

// compile makes the pattern. Case does not matter and a dot matches every character, unless the flags i
// and s turn that (pcre_table(5)).
func (m *matcher) compile(pattern, flags string) error {
	switch {
	case pattern == "":
		return errors.New("want a pattern that is not empty")
	case len(pattern) > maxPattern:
		return fmt.Errorf("the pattern has %d bytes: want at most %d", len(pattern), maxPattern)
	}
	on := map[rune]bool{'i': true, 's': true}
	for _, f := range flags {
		if !strings.ContainsRune("imsU", f) {
			return fmt.Errorf("flag %q behind the pattern: want i, m, s or U", f)
		}
		on[f] = !on[f]
	}
	set := ""
	for _, f := range "imsU" {
		if on[f] {
			set += string(f)
		}
	}
	if set != "" {
		pattern = "(?" + set + ")" + pattern
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err == nil {
		var prog *syntax.Prog
		if prog, err = syntax.Compile(parsed.Simplify()); err == nil && len(prog.Inst) > maxSteps {
			return fmt.Errorf("the pattern is too costly: it has %d steps, want at most %d", len(prog.Inst), maxSteps)
		}
	}
	if err != nil {
		e, ok := errors.AsType[*syntax.Error](err)
		if !ok {
			return err
		}
		return fmt.Errorf("the pattern cannot be used: %s: %s (patterns are those of RE2, without look-ahead and back-references)", e.Code, shown(e.Expr))
	}
	m.re, err = regexp.Compile(pattern)
	return err
}

// fieldOf finds out that a pattern can match one field alone, since it begins with ^Name: as most do: other
// fields need not be compared with it then.
func fieldOf(r *rule) string {
	if r.not {
		return ""
	}
	parsed, err := syntax.Parse(r.re.String(), syntax.Perl)
	if err != nil {
		return ""
	}
	parsed = parsed.Simplify()
	// Without the flag m a ^ is the begin of the text.
	if parsed.Op != syntax.OpConcat || len(parsed.Sub) < 2 || parsed.Sub[0].Op != syntax.OpBeginText || parsed.Sub[1].Op != syntax.OpLiteral {
		return ""
	}
	name, _, ok := strings.Cut(string(parsed.Sub[1].Rune), ":")
	if !ok || !fieldName.MatchString(name) {
		return ""
	}
	return strings.ToLower(name)
}

// cutWord returns the first word of s, and what stands behind the blanks that follow.
func cutWord(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// shown is text of a file as errors quote it.
func shown(s string) string { return strconv.Quote(cut(s, 60)) }

// cut shortens a text to most bytes, between characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// printable reports whether s may stand in a reply or a header field as it is.
func printable(s string) bool { return smtp.Text(s, len(s)) == s }
