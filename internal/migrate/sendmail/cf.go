package sendmail

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/policy/headers"
)

// ruleset is one S line and its rules.
type ruleset struct {
	name  string
	line  int
	rules []rule
}

type rule struct {
	line int
	text string
}

// hook is a header whose value a ruleset looks at.
type hook struct {
	line          int
	text, ruleset string
}

// cf takes the lines of a sendmail.cf, or of the part of a .mc that is copied into one. first is
// the number of the first line.
func (r *reader) cf(file, text string, first int) {
	n := first - 1
	var at *ruleset
	var mailers []mailer
	inMailer := false
	for raw := range strings.Lines(text) {
		n++
		line := strings.TrimRight(raw, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		rest := line[1:]
		if inMailer && (line[0] == ' ' || line[0] == '\t') {
			mailers[len(mailers)-1].text += "," + rest
			continue
		}
		if inMailer = line[0] == 'M'; inMailer {
			mailers = append(mailers, mailer{n, line})
			continue
		}
		switch line[0] {
		case 'D':
			r.macro(rest, file, n, line)
		case 'C':
			r.classLine(rest, file, n, line)
		case 'F':
			r.classFile(rest, file, n, line)
		case 'O':
			r.optionLine(rest, file, n, line)
		case 'K':
			r.mapLine(rest, file, n, line)
		case 'H':
			r.header(rest, file, n, line)
		case 'S':
			at = r.startRuleset(rest, n)
		case 'R':
			r.rule(at, rest, file, n, line)
		case 'P', 'T', 'V', 'E', 'L', ' ', '\t', 'Q', 'X':
			if line[0] == 'X' {
				r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "mail filters (milters) are not spoken to; submit.filter runs a program for each message")
			}
			// Precedences and the like are built in; continued lines belong to those before.
		default:
			r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "no line of sendmail.cf begins so")
		}
	}
	r.mailers(mailers, file)
}

func (r *reader) startRuleset(s string, n int) *ruleset {
	name, _, _ := strings.Cut(strings.TrimSpace(s), "=")
	rs := &ruleset{name: name, line: n}
	r.rulesets[strings.ToLower(name)] = rs
	return rs
}

// rule keeps a rewriting rule. Its sides are separated by tabs; with blanks instead sendmail
// takes all of it for the left side.
func (r *reader) rule(at *ruleset, rest, file string, n int, line string) {
	if !strings.Contains(rest, "\t") {
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "a space stands where a tab belongs: sendmail sees no right side in it")
	}
	if list := listLookup.FindStringSubmatch(rest); list != nil {
		r.dnsList(list[1], nil, file, n, line)
	}
	if at != nil {
		at.rules = append(at.rules, rule{n, line})
	}
}

// listLookup is how the stock rules of FEATURE(`dnsbl') and (`enhdnsbl') ask a list about a client.
var listLookup = regexp.MustCompile(`\$\((?:dnsbl|edns) \$4\.\$3\.\$2\.\$1\.([A-Za-z0-9.-]+?)\.? `)

// dnsList takes a DNS list by which sendmail refuses clients. codes are the answers that count; none is any.
func (r *reader) dnsList(list string, codes []string, file string, n int, line string) {
	list = strings.TrimSuffix(list, ".")
	if _, err := names.Domain(list); err != nil {
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "dns_lists.lists", "it names no list: %s", err)
		return
	}
	entry := list
	for i, c := range codes {
		c = strings.TrimSuffix(c, ".")
		if _, err := netip.ParseAddr(c); err != nil {
			r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "dns_lists.lists", "the answers that count are a pattern: name them there, as %s codes=127.0.0.2-127.0.0.11", list)
			return
		}
		entry += map[bool]string{true: " codes=", false: ","}[i == 0] + c
	}
	r.r.Add("dns_lists.lists", entry, file, n)
	r.r.Set("dns_lists.permanent", "true", file, n)
	r.r.Note(migrate.At(file, n, line), migrate.Differs, "dns_lists.lists", "refused at RCPT, in the list's own words; clients that may relay and accounts are not asked for")
}

// rules tells of the host's own rulesets: those that look at headers, and those that the stock
// configuration leaves to the host.
func (r *reader) rules(file string) {
	named := r.headerChecks(file)
	stock := 0
	for key, rs := range r.rulesets {
		switch {
		case named[key]:
		case strings.HasPrefix(key, "local_") && len(rs.rules) > 0:
			for _, rl := range rs.rules {
				r.r.Note(migrate.At(file, rl.line, rl.text), migrate.NotCarried, "", "rule of %s: addresses and clients are not rewritten or judged by rules here", rs.name)
			}
		case len(rs.rules) > 0:
			stock += len(rs.rules)
		}
	}
	if stock > 0 {
		r.r.Note(migrate.At(file, 0, fmt.Sprintf("%d stock rewriting rules", stock)), migrate.Differs, "", "what they do is built in: routing by tables, relaying by policy; look through them if some are the host's own")
	}
}

// headerChecks takes the rulesets that look at headers as they stand, all or none: content rules read them in this
// file. It returns their names.
func (r *reader) headerChecks(file string) map[string]bool {
	named := map[string]bool{}
	if len(r.hooks) == 0 {
		return named
	}
	path, err := filepath.Abs(file)
	entry := "sendmail:" + path
	if err == nil {
		err = (&headers.Options{Files: []string{entry}}).Validate()
	}
	if err == nil {
		r.r.SetList(keyContentRules, []string{entry}, file, r.hooks[0].line)
	}
	note := func(line int, text string) {
		if err == nil {
			r.r.Taken(migrate.At(file, line, text), keyContentRules)
			return
		}
		wrong, _, _ := strings.Cut(err.Error(), "\n")
		r.r.Note(migrate.At(file, line, text), migrate.NotCarried, keyContentRules, "the header checks are taken all or none: %s", wrong)
	}
	for _, h := range r.hooks {
		note(h.line, h.text)
		if key := strings.ToLower(h.ruleset); !named[key] {
			named[key] = true
			if rs := r.rulesets[key]; rs != nil {
				for _, rl := range rs.rules {
					note(rl.line, rl.text)
				}
			}
		}
	}
	return named
}

// keyContentRules is the key of files with rules for header fields.
const keyContentRules = "content_rules.files"

// macro takes D lines that decide something.
func (r *reader) macro(s, file string, n int, line string) {
	name, value := s[:min(1, len(s))], strings.TrimSpace(s[min(1, len(s)):])
	switch name {
	case "j":
		if strings.Contains(value, "$") {
			return // the host's own name, as it is found at the start
		}
		r.name("host", value, file, n, line)
	case "S", "R", "H":
		if value == "" {
			return
		}
		if name != "S" {
			r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "a relay for names without a domain, or for users here, has no equal")
			return
		}
		r.smartHost(value, file, n, line)
	case "M":
		if value != "" {
			r.masquerade(value, file, n, line)
		}
	}
}

func (r *reader) masquerade(value, file string, n int, line string) {
	r.r.Set("inject.default_host", value, file, n)
	r.r.Note(migrate.At(file, n, line), migrate.Differs, "inject.default_host", "addresses without a host get it, in the header and the envelope of what programs of this host hand in; those that name this host are not rewritten, nor what comes over SMTP")
}

// name takes a key whose value is a host's name.
func (r *reader) name(key, value, file string, n int, line string) {
	if _, err := names.Domain(value); err != nil {
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, key, "%s", err)
		return
	}
	r.r.Set(key, value, file, n)
	r.r.Taken(migrate.At(file, n, line), key)
}

func (r *reader) smartHost(value, file string, n int, line string) {
	hop, more, err := hop(value)
	if err != nil {
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, keyNextHop, "%s", err)
		return
	}
	r.r.Set(keyNextHop, hop, file, n)
	if more {
		r.r.Note(migrate.At(file, n, line), migrate.Differs, keyNextHop, onlyFirst)
		return
	}
	r.r.Taken(migrate.At(file, n, line), keyNextHop)
}

// classLine takes C lines: Cw names, C{w}names.
func (r *reader) classLine(s, file string, n int, line string) {
	class, rest, ok := className(s)
	if !ok {
		return
	}
	for name := range strings.FieldsSeq(rest) {
		if class == "w" && name == "localhost" || class != "w" && class != "R" {
			continue // names that every host has, and classes that only rules use
		}
		r.member(class[0], name, file, n)
	}
}

// classFile takes F lines: Fw/etc/mail/local-host-names, F{R}-o /file.
func (r *reader) classFile(s, file string, n int, line string) {
	class, rest, ok := className(s)
	if !ok || class != "w" && class != "R" {
		return
	}
	path := r.host(strings.TrimSuffix(rest, " %[^\\#]"))
	if strings.Contains(path, "|") {
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "a program's output is not read")
		return
	}
	r.class(class[0], path)
}

func className(s string) (class, rest string, ok bool) {
	if strings.HasPrefix(s, "{") {
		class, rest, ok = strings.Cut(s[1:], "}")
		return class, rest, ok && class != ""
	}
	if s == "" {
		return "", "", false
	}
	return s[:1], s[1:], true
}

// optionLine takes O lines: O Name=value. The old form of one letter has no equals sign.
func (r *reader) optionLine(s, file string, n int, line string) {
	name, value, ok := strings.Cut(strings.TrimSpace(s), "=")
	if !ok || !strings.HasPrefix(s, " ") {
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "want `O Name=value`: options of one letter are of an old sendmail")
		return
	}
	r.option(strings.TrimSpace(name), strings.TrimSpace(value), file, n, line)
}

// mapLine takes K lines: Kname type arguments.
func (r *reader) mapLine(s, file string, n int, line string) {
	f := strings.Fields(s)
	if len(f) < 3 {
		return
	}
	path := r.table(f[len(f)-1])
	switch f[0] {
	case "authinfo":
		r.authInfo(path)
	case "mailertable":
		r.mailertable(path)
	case "virtuser", "virtusertable":
		r.file("route.virtusertable", path, false)
	case "access":
		r.accessTable(path)
	case "generics", "domaintable":
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "addresses are not rewritten by tables")
	}
}

// header takes H lines: only those that call a ruleset decide anything.
func (r *reader) header(s, file string, n int, line string) {
	i := strings.Index(s, "$>")
	if i < 0 {
		return
	}
	name := strings.TrimLeft(s[i+2:], "+ ")
	if end := strings.IndexAny(name, " \t"); end >= 0 {
		name = name[:end]
	}
	r.hooks = append(r.hooks, hook{n, line, name})
}

// listener takes one DaemonPortOptions: Port=smtp, Addr=127.0.0.1, Name=MTA.
func (r *reader) listener(value, file string, n int, line string) {
	port, addr := "25", ""
	for f := range strings.SplitSeq(value, ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(f), "=")
		switch strings.ToLower(name) {
		case "port":
			port = v
		case "addr", "address":
			addr = v
		}
	}
	if p, err := net.LookupPort("tcp", port); err == nil {
		port = strconv.Itoa(p)
	}
	if a, err := netip.ParseAddr(addr); addr != "" && err != nil || addr != "" && a.IsUnspecified() {
		addr = ""
	}
	service := map[string]string{"587": "submission", "465": "submissions"}[port]
	if service == "" {
		service = "smtp"
	}
	if l := net.JoinHostPort(addr, port); !slices.Contains(r.listen[service], l) {
		r.listen[service] = append(r.listen[service], l)
	}
	r.r.Taken(migrate.At(file, n, line), service+".listen")
}

// span reads sendmail's intervals: 5d, 1h30m, 10 (in the option's own unit).
func span(s string, unit time.Duration) (time.Duration, bool) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var total time.Duration
	if s == "" {
		return 0, false
	}
	for s != "" {
		i := 0
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		v, err := strconv.Atoi(s[:i])
		if err != nil || v > 1e6 {
			return 0, false
		}
		u := unit
		if s = s[i:]; s != "" {
			var ok bool
			if u, ok = units[s[0]]; !ok {
				return 0, false
			}
			s = s[1:]
		}
		total += time.Duration(v) * u
	}
	return total, total < 10*365*24*time.Hour
}
