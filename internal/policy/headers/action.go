package headers

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// verb is what a rule does with what it matches.
type verb uint8

const (
	pass    verb = iota // DUNNO, OK: no later rule of the file is asked about this field
	warn                // WARN, INFO: the hit is told, nothing else
	prepend             // PREPEND: a field is added
	hold                // HOLD: the message is taken and waits for an operator
	deferre             // DEFER: refused for now
	reject              // REJECT: refused for good
)

var verbNames = [...]string{pass: "DUNNO", warn: "WARN", prepend: "PREPEND", hold: "HOLD", deferre: "DEFER", reject: "REJECT"}

// action is a verb with its words.
type action struct {
	verb verb
	test bool // TEST before it: the hit is told, and everything goes on as if the rule were not there
	// code and status are what a refused client hears.
	code   int
	status string
	field  string // the name of the field that PREPEND adds
	text   string // of the reply, of the log, of the field; $1 stands for a group of the pattern
}

const (
	rejected = "message content rejected" // header_checks(5)
	wantVerb = "want REJECT, DEFER, HOLD, PREPEND, WARN, INFO, DUNNO or DISCARD, or TEST before one of them"
)

// readAction reads an action; groups are those of the matcher's pattern.
func readAction(s string, m *matcher) (a action, err error) {
	word, rest := cutWord(s)
	if strings.EqualFold(word, "TEST") {
		a.test = true
		word, rest = cutWord(rest)
	}
	a.text = rest
	switch strings.ToUpper(word) {
	case "":
		return a, errors.New("the rule does nothing: " + wantVerb)
	case "REJECT", "DISCARD":
		// What is to vanish is refused: a message that was acknowledged is never dropped.
		a.verb, a.code, a.status = reject, 550, "5.7.1"
		err = a.reply()
	case "DEFER":
		a.verb, a.code, a.status = deferre, 451, "4.7.1"
		err = a.reply()
	case "HOLD":
		a.verb = hold
	case "WARN", "INFO":
		a.verb = warn
	case "DUNNO", "OK":
		a.verb = pass
	case "PREPEND":
		a.verb = prepend
		err = a.readField()
	default:
		if isCode(word) {
			a.text = s[strings.Index(s, word):]
			a.verb, a.code, a.status = reject, 550, "5.7.1"
			err = a.reply()
			break
		}
		return a, fmt.Errorf("action %s: %s", shown(word), wantVerb)
	}
	switch {
	case err != nil:
		return a, err
	case len(a.text) > maxText:
		return a, fmt.Errorf("the text has %d bytes: want at most %d", len(a.text), maxText)
	}
	return a, a.checkGroups(m)
}

// isCode reports whether s is the code of a reply that refuses.
func isCode(s string) bool {
	return len(s) == 3 && (s[0] == '4' || s[0] == '5') && strings.Trim(s, "0123456789") == ""
}

// reply takes code and status off the text: "550 5.7.1 text", "5.7.1 text", "550 text", "text". A code
// without a status has X.0.0, as sendmail answers (qmail reference 25.7).
func (a *action) reply() error {
	word, rest := cutWord(a.text)
	coded, class := false, a.status[0]
	if isCode(word) {
		a.code, _ = strconv.Atoi(word)
		coded, a.text = true, rest
		a.status = word[:1] + ".0.0"
		word, rest = cutWord(rest)
	}
	if smtp.IsEnhanced(word) {
		if coded && word[0] != a.status[0] {
			return fmt.Errorf("%s and %d are of different classes", word, a.code)
		}
		a.status, a.text = word, rest
		if !coded {
			a.code = map[byte]int{'4': 451, '5': 550}[word[0]]
		}
	}
	switch {
	case a.status[0] == '2':
		return fmt.Errorf("%s is no status of a refusal: want 4.X.X or 5.X.X", a.status)
	case a.status[0] == '4':
		a.verb = deferre
	case class == '4':
		return fmt.Errorf("DEFER with %d %s: want codes that begin with 4", a.code, a.status)
	}
	a.text = cmp.Or(a.text, rejected)
	if !printable(a.text) {
		return fmt.Errorf("%s: want ASCII: that is all that every client can be told", shown(a.text))
	}
	return nil
}

// readField reads the field that PREPEND adds.
func (a *action) readField() error {
	name, value, ok := strings.Cut(a.text, ":")
	value = strings.TrimSpace(value)
	switch {
	case !ok || !fieldName.MatchString(name) || value == "":
		return fmt.Errorf("%s: want a field behind PREPEND, as in X-Checked: yes", shown(a.text))
	case !printable(value):
		return fmt.Errorf("%s: want ASCII in a header field", shown(value))
	}
	a.field, a.text = name, value
	return nil
}

// expand replaces $1, ${1}, $(1) by the groups and $$ by $ (pcre_table(5)); anything else is text. bad is the
// first number that has no group.
func expand(text string, group func(n int) (string, bool)) (s string, bad string) {
	if !strings.Contains(text, "$") {
		return text, ""
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		name, n := reference(text[i:])
		switch {
		case n == 0:
			b.WriteByte(text[i])
			i++
			continue
		case name == "$":
			b.WriteByte('$')
		default:
			number, err := strconv.Atoi(name)
			value, ok := "", false
			if err == nil {
				value, ok = group(number)
			}
			if !ok && bad == "" {
				bad = text[i : i+n]
			}
			b.WriteString(value)
		}
		i += n
	}
	return b.String(), bad
}

// reference reads a reference to a group that s begins with; n is its length, 0 where there is none.
func reference(s string) (name string, n int) {
	if len(s) < 2 || s[0] != '$' {
		return "", 0
	}
	switch c := s[1]; {
	case c == '$':
		return "$", 2
	case c >= '0' && c <= '9':
		return s[1:2], 2
	case c == '{' || c == '(':
		end := strings.IndexByte(s, map[byte]byte{'{': '}', '(': ')'}[c])
		if end > 2 && strings.Trim(s[2:end], "0123456789") == "" {
			return s[2:end], end + 1
		}
	}
	return "", 0
}

// checkGroups refuses references to groups that the pattern does not have.
func (a *action) checkGroups(m *matcher) error {
	most := 0
	if m.re != nil && !m.not {
		most = m.re.NumSubexp()
	}
	_, bad := expand(a.text, func(n int) (string, bool) { return "", n <= most && (n > 0 || m.re != nil) })
	if bad != "" {
		return fmt.Errorf("the text speaks of %s, and the pattern has %d groups in parentheses (write $$ for a dollar)", bad, most)
	}
	return nil
}

// refusal is what the client of a message is told; nil for verbs that refuse nothing.
func (a *action) refusal(text string) *reason.Error {
	var e *reason.Error
	switch a.verb {
	case reject:
		e = reason.ContentRefused.With(text)
	case deferre:
		e = reason.ContentDeferred.With(text)
	default:
		return nil
	}
	e.Code, e.Enhanced = a.code, a.status
	return e
}
