package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/smtp"
)

// hostsTable is hosts.allow or hosts.deny for one service (hosts_access(5), hosts_options(5)).
type hostsTable struct {
	rules      []hostsRule
	host, info bool
}

// hostsRule is a line whose daemon list holds the service.
type hostsRule struct {
	clients expr
	deny    bool
	vars    [][2]string
	where   string
}

// expr is a list, with an EXCEPT behind it: matched by any of any, unless not matches.
type expr struct {
	any []pattern
	not *expr
}

// pattern is one client pattern; user is what stands before its "@".
type pattern struct {
	user, text string
	prefix     netip.Prefix // of a range or address
}

// daemons are the names under which the programs of a service stand in these files.
func daemons(service string) []string {
	list := []string{"postilion", service, "tcp-env", "tcpd"}
	switch service {
	case "smtp", "submission", "submissions", "lmtp":
		list = append(list, "smtpd", "qmail-smtpd", "sendmail", "in.smtpd", "mail")
	case "pop3", "pop3s":
		list = append(list, "pop3d", "qmail-pop3d", "qmail-popup", "ipop3d", "in.pop3d", "popper", "dovecot")
	default:
		list = append(list, service+"d", "qmail-"+service+"d")
	}
	return list
}

// hostsParser reads the file; deny is set for hosts.deny.
func hostsParser(service string, deny bool) func(path string, content []byte) (table, error) {
	names := daemons(service)
	return func(path string, content []byte) (table, error) {
		t := new(hostsTable)
		n, start, joined := 0, 0, ""
		for line := range strings.Lines(string(content)) {
			n++
			line = strings.TrimRight(line, "\r\n")
			if joined == "" {
				start = n
			}
			if more, ok := strings.CutSuffix(line, "\\"); ok {
				joined += more
				continue
			}
			line, joined = joined+line, ""
			if strings.TrimSpace(line) == "" || line[0] == '#' {
				continue
			}
			if err := t.line(line, fmt.Sprintf("%s:%d", path, start), names, deny); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, start, err)
			}
		}
		if joined != "" {
			return nil, fmt.Errorf("%s:%d: the last line ends in a backslash: want the line that it goes on with", path, start)
		}
		return t, nil
	}
}

func (t *hostsTable) line(line, where string, names []string, deny bool) error {
	fields := cutFields(line)
	if len(fields) < 2 {
		return fmt.Errorf("%q: want DAEMONS : CLIENTS", smtp.Text(line, 100))
	}
	ours, err := daemonMatch(words(fields[0]), names)
	if err != nil || !ours {
		return err
	}
	r := hostsRule{deny: deny, where: where + " rule " + smtp.Text(strings.TrimSpace(line), 100)}
	if r.clients, err = t.clients(words(fields[1])); err != nil {
		return err
	}
	for _, o := range fields[2:] {
		if err := r.option(strings.TrimSpace(o)); err != nil {
			return err
		}
	}
	t.rules = append(t.rules, r)
	return nil
}

// cutFields splits at colons outside of brackets; "\:" is a colon (hosts_options(5)).
func cutFields(line string) (fields []string) {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == ':':
			i++
			b.WriteByte(':')
		case c == ':' && depth == 0:
			fields = append(fields, b.String())
			b.Reset()
		default:
			if c == '[' {
				depth++
			} else if c == ']' {
				depth = max(0, depth-1)
			}
			b.WriteByte(c)
		}
	}
	return append(fields, b.String())
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
}

// daemonMatch reports whether a daemon list holds one of the names.
func daemonMatch(list, names []string) (bool, error) {
	if len(list) == 0 {
		return false, fmt.Errorf("want a daemon's name before the colon")
	}
	except := slices.IndexFunc(list, func(s string) bool { return strings.EqualFold(s, "EXCEPT") })
	if except >= 0 {
		not, err := daemonMatch(list[except+1:], names)
		if err != nil || not {
			return false, err
		}
		list = list[:except]
	}
	for _, d := range list {
		name, _, _ := strings.Cut(d, "@") // daemon@host: any of this host's addresses
		if strings.EqualFold(name, "ALL") || slices.Contains(names, name) {
			return true, nil
		}
	}
	return false, nil
}

func (t *hostsTable) clients(list []string) (e expr, err error) {
	for i, w := range list {
		if strings.EqualFold(w, "EXCEPT") {
			not, err := t.clients(list[i+1:])
			e.not = &not
			return e, err
		}
		p, err := t.pattern(w)
		if err != nil {
			return e, err
		}
		e.any = append(e.any, p)
	}
	if len(e.any) == 0 {
		return e, fmt.Errorf("want clients such as ALL behind the colon")
	}
	return e, nil
}

func (t *hostsTable) pattern(w string) (p pattern, err error) {
	p.text = strings.ToLower(w)
	if user, host, ok := strings.Cut(p.text, "@"); ok {
		if user == "" {
			return p, fmt.Errorf("%q: netgroups are not known here, want the clients themselves", w)
		}
		p.user, p.text = user, host
		t.info = true
	}
	if p.text == "" || p.text[0] == '/' {
		return p, fmt.Errorf("%q: want an address, a range, a name or a word such as ALL", w)
	}
	if before, mask, ok := strings.Cut(p.text, "/"); ok {
		p.prefix, err = maskedPrefix(strings.Trim(before, "[]"), mask)
		if err != nil {
			return p, fmt.Errorf("%q: want a network as 192.0.2.0/255.255.255.0, 192.0.2.0/24 or [2001:db8::]/32", w)
		}
		return p, nil
	}
	if a, err := serve.ParsePrefix(strings.Trim(p.text, "[]")); err == nil {
		p.prefix = a
		return p, nil
	}
	switch p.text {
	case "all", "local", "known", "unknown", "paranoid":
		t.host = t.host || p.text != "all"
		return p, nil
	}
	t.host = t.host || strings.Trim(p.text, "0123456789.") != ""
	return p, nil
}

// maskedPrefix reads net/mask with a mask of dots or of bits.
func maskedPrefix(network, mask string) (netip.Prefix, error) {
	if m, err := netip.ParseAddr(mask); err == nil && m.Is4() {
		bits, ended := 0, false
		b := m.As4()
		for i := range 32 {
			set := b[i/8]&(0x80>>(i%8)) != 0
			if set && ended {
				return netip.Prefix{}, fmt.Errorf("mask %s has holes: want one such as 255.255.255.0", mask)
			}
			ended = ended || !set
			if set {
				bits++
			}
		}
		mask = strconv.Itoa(bits)
	}
	return serve.ParsePrefix(network + "/" + mask)
}

// option reads what stands behind the clients: a keyword, blanks or an equals sign or both, and its value
// (hosts_options(5)). qmail's FAQ has `setenv = RELAYCLIENT`.
func (r *hostsRule) option(o string) error {
	if strings.TrimSpace(o) == "" {
		return fmt.Errorf("an empty option: want allow, deny or setenv NAME VALUE")
	}
	keyword, value := strings.TrimSpace(o), ""
	if i := strings.IndexAny(keyword, " \t="); i >= 0 {
		keyword, value = keyword[:i], strings.TrimSpace(keyword[i:])
		value = strings.TrimPrefix(value, "=")
	}
	switch strings.ToLower(keyword) {
	case "allow":
		r.deny = false
	case "deny", "twist":
		r.deny = true // twist puts another program in the service's place
	case "setenv":
		f := strings.Fields(value)
		if len(f) == 0 {
			return fmt.Errorf("%q: want setenv NAME VALUE", smtp.Text(o, 100))
		}
		value = strings.Join(f[1:], " ")
		if err := new(Decision).variable(f[0], value); err != nil {
			return err
		}
		r.vars = append(r.vars, [2]string{f[0], value})
	default:
		// Commands to be run, and options of the connection, are not carried: they do not decide.
	}
	return nil
}

func (t *hostsTable) needs() (host, info bool) { return t.host, t.info }

func (t *hostsTable) decide(c *Client) (Decision, bool) {
	for i := range t.rules {
		r := &t.rules[i]
		if !r.clients.matches(c) {
			continue
		}
		d := Decision{Rule: r.where, Deny: r.deny}
		for _, v := range r.vars {
			_ = d.variable(v[0], v[1]) // checked
		}
		return d, true
	}
	return Decision{}, false
}

func (e *expr) matches(c *Client) bool {
	return slices.ContainsFunc(e.any, func(p pattern) bool { return p.matches(c) }) && (e.not == nil || !e.not.matches(c))
}

func (p *pattern) matches(c *Client) bool {
	switch p.user {
	case "", "all":
	case "known":
		if c.Info == "" {
			return false
		}
	case "unknown":
		if c.Info != "" {
			return false
		}
	default:
		if !strings.EqualFold(p.user, c.Info) {
			return false
		}
	}
	if p.prefix.IsValid() {
		return p.prefix.Contains(c.Addr)
	}
	switch p.text {
	case "all":
		return true
	case "local":
		return c.Host != "" && !strings.Contains(c.Host, ".")
	case "known":
		return c.Host != ""
	case "unknown", "paranoid": // a name counts as known only when it leads back to the address
		return c.Host == ""
	}
	switch {
	case p.text[0] == '.':
		return strings.HasSuffix(c.Host, p.text)
	case p.text[len(p.text)-1] == '.':
		return strings.HasPrefix(c.Addr.String(), p.text)
	case strings.ContainsAny(p.text, "*?"):
		return wild(p.text, c.Host) || wild(p.text, c.Addr.String())
	}
	return p.text == c.Host
}

// wild matches "*" and "?" as the shell does, without trying each way: the text is short.
func wild(pattern, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]) && pattern[i] != '*':
			i, j = i+1, j+1
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}
