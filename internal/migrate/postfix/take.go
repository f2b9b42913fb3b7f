package postfix

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/smtp"
)

// spans are parameters that are times, with their own unit and our keys.
var spans = map[string]struct {
	unit time.Duration
	keys []string
}{
	"maximal_queue_lifetime": {24 * time.Hour, []string{"dispatch.lifetime"}}, "delay_warning_time": {time.Hour, []string{"dispatch.delay_notice"}},
	"smtpd_timeout": {time.Second, []string{"smtp.idle_timeout", "smtp.data_timeout"}}, "smtp_connect_timeout": {time.Second, []string{"remote.timeout_connect"}},
	"smtp_helo_timeout": {time.Second, []string{"remote.timeout_greeting", "remote.timeout_ehlo"}}, "smtp_mail_timeout": {time.Second, []string{"remote.timeout_mail"}},
	"smtp_rcpt_timeout": {time.Second, []string{"remote.timeout_rcpt"}}, "smtp_data_init_timeout": {time.Second, []string{"remote.timeout_data"}},
	"smtp_data_xfer_timeout": {time.Second, []string{"remote.timeout_block"}}, "smtp_data_done_timeout": {time.Second, []string{"remote.timeout_dot"}},
}

// numbers are parameters that are numbers here too.
var numbers = map[string]struct {
	keys []string
	text string // the difference; "" for none
}{
	"message_size_limit": {[]string{"policy.max_size", "policy.max_send_size"}, ""}, "smtpd_recipient_limit": {[]string{"policy.max_recipients"}, ""},
	"hopcount_limit":                        {[]string{"policy.max_hops", "dispatch.max_hops"}, "Delivered-To counts too"},
	"smtpd_hard_error_limit":                {[]string{"smtp.max_errors"}, ""},
	"smtpd_client_connection_count_limit":   {[]string{"smtp.max_per_client"}, ""},
	"smtpd_client_connection_rate_limit":    {[]string{"smtp.connection_rate"}, ""},
	"default_process_limit":                 {[]string{"smtp.max_connections"}, "it counts connections, not processes"},
	"smtp_destination_recipient_limit":      {[]string{"remote.max_recipients"}, ""},
	"default_destination_recipient_limit":   {[]string{"remote.max_recipients"}, ""},
	"smtp_destination_concurrency_limit":    {[]string{"dispatch.destination_parallel"}, ""},
	"default_destination_concurrency_limit": {[]string{"dispatch.destination_parallel"}, ""},
	"initial_destination_concurrency":       {[]string{"dispatch.destination_start"}, ""},
}

// words that need no note: what they ask for is so here, or steers parts that are built otherwise.
var quiet = map[string]bool{
	"compatibility_level": true, "command_directory": true, "daemon_directory": true, "data_directory": true, "queue_directory": true, "mail_owner": true,
	"setgid_group": true, "sendmail_path": true, "newaliases_path": true, "mailq_path": true, "html_directory": true, "manpage_directory": true,
	"sample_directory": true, "readme_directory": true, "shlib_directory": true, "meta_directory": true, "debug_peer_level": true, "debugger_command": true,
	"inet_protocols": true, "biff": true, "append_dot_mydomain": true, "append_at_myorigin": true, "unknown_local_recipient_reject_code": true,
	"smtpd_tls_session_cache_database": true, "smtp_tls_session_cache_database": true, "smtpd_sasl_auth_enable": true, "smtp_sasl_auth_enable": true,
	"smtp_sasl_security_options": true, "smtpd_sasl_security_options": true, "smtpd_helo_required": true, "disable_vrfy_command": true, "strict_rfc821_envelopes": true,
	"smtpd_delay_reject": true, "mailbox_size_limit": true, "virtual_alias_domains": true, "alias_database": true, "mydomain": true, "mail_name": true,
	"local_recipient_maps": true, "smtp_tls_loglevel": true, "smtpd_tls_loglevel": true, "smtpd_tls_received_header": true, "soft_bounce": true, "notify_classes": true,
	"smtpd_tls_auth_only": true, "smtpd_use_tls": true, "smtp_use_tls": true, "config_directory": true, "smtp_tls_note_starttls_offer": true, "maillog_file": true,
}

// parameter takes one parameter.
func (r *reader) parameter(p parameter) {
	value := r.expand(p.value, 1)
	if s, ok := spans[p.name]; ok {
		r.span(p, value, s.unit, s.keys)
		return
	}
	if n, ok := numbers[p.name]; ok {
		r.number(p, value, n.keys, n.text)
		return
	}
	if strings.HasPrefix(p.name, "smtpd_") && strings.HasSuffix(p.name, "_restrictions") {
		r.restrictions(p, value)
		return
	}
	if take := simple[p.name]; take != nil {
		take(r, p, value)
		return
	}
	if !quiet[p.name] {
		r.r.Note(r.at(p), migrate.NotCarried, "", "%s", orElse(instead[p.name], "has no equal"))
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// instead says what to do about parameters without an equal.
var instead = map[string]string{
	"virtual_mailbox_domains": "make the domains and their accounts: `domain add`, `account add`", "virtual_mailbox_maps": "make the accounts: `account add`",
	"virtual_mailbox_base": "accounts' mailboxes are in the data folder", "content_filter": "submit.filter runs a program for each message",
	"smtpd_milters": "mail filters (milters) are not spoken to; submit.filter runs a program for each message", "non_smtpd_milters": "mail filters (milters) are not spoken to",
	"milter_default_action": "mail filters (milters) are not spoken to", "canonical_maps": "addresses are not rewritten", "sender_canonical_maps": "addresses are not rewritten",
	"recipient_canonical_maps": "addresses are not rewritten", "masquerade_domains": "addresses are not rewritten", "smtp_generic_maps": "addresses are not rewritten",
	"body_checks": "body checks have no equal; submit.filter can run a program that does it",
	"luser_relay": "a .qmail-default of alias can forward", "fallback_relay": "there is no relay of last resort", "smtp_fallback_relay": "there is no relay of last resort",
	"bounce_queue_lifetime": "bounces live as long as other messages: dispatch.lifetime", "sender_dependent_relayhost_maps": "relays are chosen by recipient: route.routes",
	"always_bcc":      "copies are configured as archive recipients",
	"smtpd_sasl_type": "logins are checked against accounts here", "smtpd_sasl_path": "logins are checked against accounts here",
}

// simple are parameters with a way of their own.
var simple = map[string]func(*reader, parameter, string){
	"myhostname": func(r *reader, p parameter, v string) { r.name(p, "host", v) },
	"myorigin": func(r *reader, p parameter, v string) {
		if strings.HasPrefix(v, "/") {
			text, _ := r.read(r.host(v))
			v, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
		}
		r.name(p, "inject.default_host", strings.TrimSpace(v))
		if s, ok := r.r.Get("inject.default_host"); ok {
			r.r.Set("route.default_domain", s.Value, s.File, s.Line) // of targets without a domain too
		}
	},
	"mydestination":  (*reader).destinations,
	"relay_domains":  (*reader).relayDomains,
	"mynetworks":     (*reader).networks,
	"relayhost":      (*reader).relayhost,
	"transport_maps": (*reader).transports,
	"virtual_alias_maps": func(r *reader, p parameter, _ string) {
		r.virtual(p)
	},
	"virtual_maps": func(r *reader, p parameter, _ string) { r.virtual(p) },
	"alias_maps": func(r *reader, p parameter, _ string) {
		for _, path := range r.maps(p, "route.alias_files", func(string, string, string, int, string) {}) {
			r.r.Add("route.alias_files", path, r.file, p.line)
		}
		r.taken(p, "route.alias_files")
	},
	"smtpd_banner": func(r *reader, p parameter, v string) {
		text := strings.TrimSpace(strings.TrimPrefix(v, r.value("myhostname")))
		if smtp.Text(text, 200) != text || text == "" {
			r.not(p, "smtp.greeting", "want at most 200 printable ASCII characters")
			return
		}
		r.set(p, "smtp.greeting", text)
	},
	"smtpd_tls_cert_file": func(r *reader, p parameter, v string) { r.set(p, "tls.cert", r.host(v)) },
	"smtpd_tls_key_file":  func(r *reader, p parameter, v string) { r.set(p, "tls.key", r.host(v)) },
	"smtp_tls_CAfile":     func(r *reader, p parameter, v string) { r.set(p, "remote.ca_file", r.host(v)) },
	"smtp_tls_CApath": func(r *reader, p parameter, v string) {
		switch strings.TrimSuffix(v, "/") {
		case "", "/etc/ssl/certs", "/etc/pki/tls/certs":
			r.taken(p, "remote.ca_file") // the system's certificates, which count here without a word
		default:
			r.not(p, "remote.ca_file", "want one file of certificates, not a folder")
		}
	},
	"smtp_helo_name":     func(r *reader, p parameter, v string) { r.name(p, "remote.helo", v) },
	"smtp_bind_address":  func(r *reader, p parameter, v string) { r.set(p, "remote.bind4", v) },
	"smtp_bind_address6": func(r *reader, p parameter, v string) { r.set(p, "remote.bind6", v) },
	"recipient_delimiter": func(r *reader, p parameter, v string) {
		if len(v) != 1 {
			r.not(p, "route.user_break", "want one character")
			return
		}
		r.r.Set("route.user_break", v, r.file, p.line)
		r.r.Note(r.at(p), migrate.Differs, "route.user_break", "the part behind it needs a .qmail-PART or .qmail-default file; without one it is refused")
	},
	"smtpd_tls_security_level": func(r *reader, p parameter, v string) {
		if v == "encrypt" {
			r.set(p, "smtp.require_tls", "true")
		}
	},
	"smtp_tls_security_level": (*reader).clientTLS,
	"home_mailbox": func(r *reader, p parameter, v string) {
		switch {
		case v == "":
		case r.value("mailbox_command") != "":
			r.not(p, "local.default_delivery", "mailbox_command comes first")
		default:
			r.set(p, "local.default_delivery", "./"+v)
		}
	},
	"mailbox_command": func(r *reader, p parameter, v string) {
		if v == "" {
			return
		}
		r.r.Set("local.default_delivery", "|preline "+r.command(p.value), r.file, p.line)
		r.r.Note(r.at(p), migrate.Differs, "local.default_delivery", "the variables of its environment are those of .qmail programs")
	},
	"mail_spool_directory": func(r *reader, p parameter, v string) {
		if strings.HasPrefix(v, "/") {
			r.set(p, "local.mail_spool", v)
		}
	},
	"always_bcc": func(r *reader, p parameter, v string) {
		if a := mail.ParseAddress(v); a.Local == "" || smtp.CheckDomain(a.Domain) != nil {
			r.not(p, "archive.copies", "want an address with its domain")
			return
		}
		r.r.SetList("archive.copies", []string{"* " + v}, r.file, p.line)
		r.taken(p, "archive.copies")
	},
	"header_checks": (*reader).headerChecks, "mime_header_checks": (*reader).headerChecks, "nested_header_checks": (*reader).headerChecks,
	"inet_interfaces": (*reader).interfaces,
	"smtp_sasl_password_maps": func(r *reader, p parameter, _ string) {
		if _, ok := r.byName["relayhost"]; !ok {
			r.not(p, "route.next_hop", "no relayhost uses it")
		}
	},
}

func (r *reader) set(p parameter, key, value string) {
	r.r.Set(key, value, r.file, p.line)
	r.taken(p, key)
}

func (r *reader) taken(p parameter, key string) { r.r.Taken(r.at(p), key) }

func (r *reader) not(p parameter, key, format string, args ...any) {
	r.r.Note(r.at(p), migrate.NotCarried, key, format, args...)
}

func (r *reader) name(p parameter, key, value string) {
	if _, err := names.Domain(value); err != nil {
		r.not(p, key, "%s", err)
		return
	}
	r.set(p, key, value)
}

func (r *reader) number(p parameter, value string, keys []string, difference string) {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case len(keys) == 0:
		return
	case err != nil || n < 0:
		r.not(p, keys[0], "want a number")
		return
	case n == 0 && strings.HasPrefix(keys[0], "policy.max_s"):
		value = "1TiB" // no limit
	case n == 0:
		r.not(p, keys[0], "0 stands for no limit: ours is generous")
		return
	}
	for _, key := range keys {
		r.r.Set(key, value, r.file, p.line)
	}
	if difference != "" {
		r.r.Note(r.at(p), migrate.Differs, keys[0], "%s", difference)
		return
	}
	r.taken(p, keys[0])
}

func (r *reader) span(p parameter, value string, unit time.Duration, keys []string) {
	d, ok := span(value, unit)
	if !ok || d == 0 && p.name != "delay_warning_time" {
		r.not(p, keys[0], "want a time such as 4h or 5d above 0")
		return
	}
	for _, key := range keys {
		r.r.Set(key, d.String(), r.file, p.line)
	}
	r.taken(p, keys[0])
}

// span reads a number with one unit of s, m, h, d or w.
func span(s string, unit time.Duration) (time.Duration, bool) {
	if s != "" {
		if u := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[s[len(s)-1]]; u != 0 {
			s, unit = s[:len(s)-1], u
		}
	}
	n, err := strconv.Atoi(s)
	return time.Duration(n) * unit, err == nil && n >= 0 && n < 1e6
}

func (r *reader) destinations(p parameter, _ string) {
	r.members(p, "route.locals", func(w, file string, line int) {
		if _, err := names.Domain(w); err != nil || strings.Contains(w, ":") {
			r.r.Note(migrate.At(file, line, w), migrate.NotCarried, "route.locals", "want a domain")
			return
		}
		r.r.Add("route.locals", strings.ToLower(w), file, line)
		r.r.Taken(migrate.At(file, line, w), "route.locals")
	})
}

func (r *reader) relayDomains(p parameter, _ string) {
	r.members(p, "policy.rcpthosts", func(w, file string, line int) {
		w = strings.ToLower(w)
		if _, err := names.Domain(strings.TrimPrefix(w, ".")); err != nil || strings.Contains(w, ":") {
			r.r.Note(migrate.At(file, line, w), migrate.NotCarried, "policy.rcpthosts", "want a domain")
			return
		}
		r.r.Add("policy.rcpthosts", w, file, line)
		if !strings.HasPrefix(w, ".") {
			r.r.Add("policy.rcpthosts", "."+w, file, line) // parent_domain_matches_subdomains
		}
		r.r.Taken(migrate.At(file, line, w), "policy.rcpthosts")
	})
}

func (r *reader) networks(p parameter, _ string) {
	r.members(p, "policy.relay_networks", func(w, file string, line int) {
		network, err := network(w)
		if err != nil {
			r.r.Note(migrate.At(file, line, w), migrate.NotCarried, "policy.relay_networks", "%s", err)
			return
		}
		r.r.Add("policy.relay_networks", network, file, line)
		r.r.Taken(migrate.At(file, line, w), "policy.relay_networks")
	})
}

// network reads 127.0.0.0/8 or [::1]/128.
func network(s string) (string, error) {
	if strings.HasPrefix(s, "!") {
		return "", errors.New("exceptions have no equal: name the networks that remain")
	}
	plain := strings.NewReplacer("[", "", "]", "").Replace(s)
	if p, err := netip.ParsePrefix(plain); err == nil {
		if p.Bits() == 0 {
			return "", errors.New("it would let everyone relay")
		}
		return p.Masked().String(), nil
	}
	if a, err := netip.ParseAddr(plain); err == nil {
		return a.String(), nil
	}
	return "", errors.New("want an address or a network")
}

// hop writes [HOST]:PORT (addresses alone) or HOST:PORT (by MX) as the relay of a route.
func hop(s string) (string, error) {
	host, port, mx := s, "", " mx"
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
	}
	if strings.HasPrefix(host, "[") {
		host, mx = strings.Trim(host, "[]"), ""
	}
	host = strings.TrimPrefix(host, "ipv6:")
	if a, err := netip.ParseAddr(host); err == nil {
		if host, mx = a.String(), ""; a.Is6() {
			host = "[IPv6:" + host + "]"
		}
	} else if host, err = names.Domain(host); err != nil {
		return "", err
	}
	if port != "" {
		n, err := net.LookupPort("tcp", port)
		if err != nil || n == 0 {
			return "", fmt.Errorf("port %q is not known", port)
		}
		host += ":" + strconv.Itoa(n)
	}
	return host + mx, nil
}

func (r *reader) relayhost(p parameter, value string) {
	if value == "" {
		return
	}
	to, err := hop(value)
	if err != nil {
		r.not(p, "route.next_hop", "%s", err)
		return
	}
	if passwords, ok := r.byName["smtp_sasl_password_maps"]; ok {
		r.maps(passwords, "route.next_hop", func(path, left, right string, n int, _ string) {
			user, password, ok := strings.Cut(right, ":")
			switch {
			case !ok || user == "" || password == "":
				r.r.Note(migrate.At(path, n, left), migrate.NotCarried, "route.next_hop", "want USER:PASSWORD behind the relay")
			case left != value:
				r.r.Note(migrate.At(path, n, left), migrate.NotCarried, "route.routes", "this relay is not the relayhost: the routes that lead to it take the words user= and password=")
			default:
				to += " user=" + url.PathEscape(user) + " password=" + url.PathEscape(password)
				r.r.Taken(migrate.At(path, n, left+" (with a user and a password)"), "route.next_hop")
			}
		})
	}
	r.set(p, "route.next_hop", to)
}

func (r *reader) transports(p parameter, _ string) {
	const key = "route.routes"
	r.maps(p, key, func(path, left, right string, n int, line string) {
		transport, next, _ := strings.Cut(right, ":")
		to, err := "", error(nil)
		switch {
		case transport != "smtp" && transport != "relay" && transport != "" && transport != "esmtp":
			err = fmt.Errorf("there is no transport %q here", transport)
		case next != "":
			to, err = hop(next)
		}
		domain := strings.ToLower(left)
		if domain == "*" {
			domain = ""
		}
		if _, bad := names.Domain(strings.TrimPrefix(domain, ".")); err == nil && domain != "" && bad != nil {
			err = bad
		}
		if err != nil {
			r.r.Note(migrate.At(path, n, line), migrate.NotCarried, key, "%s", err)
			return
		}
		if domain == "" && to == "" {
			r.r.Taken(migrate.At(path, n, line), key) // as it is for domains without a route
			return
		}
		r.r.Add(key, domain+":"+to, path, n)
		r.r.Taken(migrate.At(path, n, line), key)
	})
}

// virtual takes the table of virtual aliases in place, as a virtusertable.
func (r *reader) virtual(p parameter) {
	const key = "route.virtusertable"
	paths := r.maps(p, key, func(path, left, right string, n int, line string) {
		switch {
		case !strings.Contains(left, "@") && strings.Contains(left, "."):
			r.r.Note(migrate.At(path, n, line), migrate.Differs, key, "says that the domain is one of aliases: it needs no such line here")
		case !strings.Contains(left, "@"):
			r.r.Note(migrate.At(path, n, line), migrate.NotCarried, key, "a name in all domains has no equal: an alias in /etc/aliases has")
		default:
			r.r.Taken(migrate.At(path, n, line), key)
		}
	})
	for i, path := range paths {
		if i == 0 {
			r.r.Set(key, path, r.file, p.line)
			continue
		}
		r.not(p, key, "only one table is read: put %s into %s", path, paths[0])
	}
}

func (r *reader) clientTLS(p parameter, value string) {
	policy, same := map[string]string{"none": "none", "may": "opportunistic", "dane": "opportunistic", "encrypt": "encrypt", "verify": "verify", "secure": "verify"}[value]
	switch {
	case same:
		r.set(p, "route.tls", policy)
	case value == "dane-only" || value == "fingerprint":
		r.r.Set("route.tls", "opportunistic", r.file, p.line)
		r.r.Note(r.at(p), migrate.Differs, "route.tls", "certificates are checked where DANE or MTA-STS say which are right; to other hosts TLS is used where it is offered")
	default:
		r.not(p, "route.tls", "want none, may, dane, encrypt, verify or secure")
	}
}

func (r *reader) interfaces(p parameter, value string) {
	var list []string
	for _, w := range words(value) {
		switch a, err := netip.ParseAddr(strings.Trim(w, "[]")); {
		case w == "all":
			return
		case w == "loopback-only" || w == "localhost":
			list = append(list, "127.0.0.1:25", "[::1]:25")
		case err == nil:
			list = append(list, net.JoinHostPort(a.String(), "25"))
		default:
			r.not(p, "smtp.listen", "%s: want addresses", w)
			return
		}
	}
	if list != nil {
		r.r.SetList("smtp.listen", list, r.file, p.line)
		r.taken(p, "smtp.listen")
	}
}

// restrictions takes a list of smtpd restrictions word by word.
func (r *reader) restrictions(p parameter, value string) {
	list := words(value)
	for i := 0; i < len(list); i++ {
		w := list[i]
		argument := ""
		if i+1 < len(list) {
			argument = list[i+1]
		}
		note := func(f migrate.Fate, key, text string) {
			r.r.Note(migrate.At(r.file, p.line, p.name+": "+w), f, key, "%s", text)
		}
		switch w {
		case "permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination", "defer_unauth_destination", "permit", "permit_auth_destination",
			"reject_non_fqdn_recipient", "reject_unauth_pipelining", "reject_unlisted_recipient", "reject_unverified_recipient":
			note(migrate.Taken, "policy", "")
		case "reject_rbl_client":
			i++
			entry, err := dnsList(argument)
			if err != nil {
				note(migrate.NotCarried, "dns_lists.lists", err.Error())
				continue
			}
			r.r.Add("dns_lists.lists", entry, r.file, p.line)
			r.r.Set("dns_lists.permanent", "true", r.file, p.line)
			note(migrate.Taken, "dns_lists.lists", "")
		case "check_sender_access", "check_recipient_access":
			i++
			key := map[string]string{"check_sender_access": "policy.bad_senders", "check_recipient_access": "policy.bad_recipients"}[w]
			r.accessMap(parameter{p.name, argument, p.line}, key)
		case "check_client_access", "check_helo_access", "check_policy_service", "reject_rhsbl_sender", "reject_rhsbl_client", "reject_rhsbl_helo", "warn_if_reject":
			i++
			w += " " + argument
			note(migrate.NotCarried, "", "has no equal")
		default:
			note(migrate.NotCarried, "", "has no equal")
		}
	}
}

// dnsList writes LIST, or LIST=ANSWERS with a pattern of one part such as 127.0.0.[2..11] or 127.0.0.[2;3], as a
// list with the answers that count.
func dnsList(s string) (string, error) {
	list, answers, some := strings.Cut(s, "=")
	list = strings.TrimSuffix(list, ".")
	if _, err := names.Domain(list); err != nil {
		return "", err
	}
	if !some {
		return list, nil
	}
	before, pattern, ranged := strings.Cut(answers, "[")
	inner, after, closed := strings.Cut(pattern, "]")
	parts := []string{""}
	if ranged {
		parts = strings.FieldsFunc(inner, func(c rune) bool { return c == ';' || c == ',' })
	}
	var codes []string
	for _, part := range parts {
		first, last, span := strings.Cut(part, "..")
		code, end := before+first+after, before+last+after
		for _, a := range map[bool][]string{true: {code, end}, false: {code}}[span] {
			if _, err := netip.ParseAddr(a); err != nil || ranged && (!closed || after != "") {
				return "", fmt.Errorf("the answers that count are a pattern: name them there, as %s codes=127.0.0.2-127.0.0.11", list)
			}
		}
		if span {
			code += "-" + end
		}
		codes = append(codes, code)
	}
	return list + " codes=" + strings.Join(codes, ","), nil
}

// accessMap takes the refusals of an access table of addresses.
func (r *reader) accessMap(p parameter, key string) {
	r.maps(p, key, func(path, left, right string, n int, line string) {
		verb := strings.ToUpper(strings.Fields(right + " ")[0])
		if !strings.Contains(left, "@") {
			left = "@" + left
		}
		a := mail.ParseAddress(left)
		switch {
		case verb != "REJECT" && !(len(verb) == 3 && verb[0] == '5'):
			r.r.Note(migrate.At(path, n, line), migrate.NotCarried, key, "only refusals are carried")
		case a.Domain == "" || smtp.CheckDomain(a.Domain) != nil:
			r.r.Note(migrate.At(path, n, line), migrate.NotCarried, key, "want user@host or a host")
		default:
			r.r.Add(key, left, path, n)
			r.r.Note(migrate.At(path, n, line), migrate.Differs, key, "the refusal has a text of this server's; of a domain those below it are not meant")
		}
	})
}

// defaults sets what Postfix has where main.cf says nothing and this server has otherwise.
func (r *reader) defaults() {
	if _, ok := r.byName["mydestination"]; !ok && r.byName["myhostname"].line > 0 {
		r.r.SetList("route.locals", words(r.value("mydestination")), r.file, 0)
	}
	if _, ok := r.byName["message_size_limit"]; !ok {
		r.r.Set("policy.max_size", "10240000", r.file, 0)
		r.r.Set("policy.max_send_size", "10240000", r.file, 0)
	}
	if _, ok := r.byName["maximal_queue_lifetime"]; !ok {
		r.r.Set("dispatch.lifetime", "120h", r.file, 0)
	}
	r.r.HostName(r.o.Root)
	r.r.OneForAll()
	r.r.Forwards(r.file, r.o.Tools)
	r.r.Set("route.system_users", "true", r.file, 0)
	r.r.Set("runas.enabled", "true", r.file, 0)
}
