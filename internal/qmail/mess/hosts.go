package mess

import (
	"strings"

	"github.com/postilion/postilion/internal/qmail"
)

// Rule is one instruction of mess822's language for rewriting hosts (qmail reference 17.1).
type Rule struct {
	Kind      byte // '=', '*', '?' or '-'
	Post, New string
}

// Rules rewrite hosts, in order, each at most once.
type Rules []Rule

// ParseRules reads control/rewrite: an instruction a line, "#" begins a comment. The faults are those
// of lines that are none, which are left out.
func ParseRules(file string, data []byte) (Rules, []*qmail.Fault) {
	var rules Rules
	var faults []*qmail.Fault
	for n, line := range qmail.Lines(data) {
		line = strings.TrimRight(line, " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		post, replacement, ok := strings.Cut(line[1:], ":")
		if !ok || strings.IndexByte("=*?-", line[0]) < 0 {
			faults = append(faults, &qmail.Fault{Place: qmail.Place{File: file, Line: n}, Text: "want =post:new, *post:new, ?post:new or -post:new"})
			continue
		}
		rules = append(rules, Rule{line[0], post, replacement})
	}
	return rules, faults
}

// DefaultRules are those of a host without control/rewrite.
func (h *Hosts) DefaultRules() Rules {
	return Rules{{'*', ".", ""}, {'=', "", h.DefaultHost}, {'*', "+", "." + h.PlusDomain}, {'?', "", "." + h.DefaultDomain}}
}

// Host rewrites a host.
func (r Rules) Host(host string) string {
	for _, rule := range r {
		pre, ok := strings.CutSuffix(host, rule.Post)
		switch {
		case !ok:
		case rule.Kind == '=' && pre == "":
			host = rule.New
		case rule.Kind == '*', rule.Kind == '?' && !strings.ContainsAny(pre, ".[]"):
			host = pre + rule.New
		case rule.Kind == '-':
			host = rule.New
		}
	}
	return host
}

// Address rewrites the host of an address; one without "@" has an empty host.
func (r Rules) Address(a string) string {
	box, host, _ := cutAt(a)
	return box + "@" + r.Host(host)
}
