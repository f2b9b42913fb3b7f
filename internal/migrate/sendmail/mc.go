package sendmail

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/migrate"
)

// call is a macro of m4 with its arguments, quotes removed: define(`confX', `value').
type call struct {
	name string
	args []string
	line int
	text string // as it stands, for notes
}

// arg returns an argument, "" where there is none.
func (c *call) arg(n int) string {
	if n < len(c.args) {
		return c.args[n]
	}
	return ""
}

// mc takes a sendmail.mc: calls of m4 macros, and behind LOCAL_CONFIG and the like lines of sendmail.cf.
func (r *reader) mc(file, text string) {
	rest, n := text, 1
	for rest != "" {
		line, after, _ := strings.Cut(rest, "\n")
		word := strings.TrimSpace(strings.SplitN(line, "dnl", 2)[0])
		if isSection(word) {
			body := after
			if end := nextSection(after); end >= 0 {
				body = after[:end]
			}
			r.cf(file, body, n+1)
			n += 1 + strings.Count(body, "\n")
			rest = after[len(body):]
			continue
		}
		c, length := nextCall(rest)
		if c.name == "" {
			rest, n = after, n+1
			continue
		}
		c.line, c.text = n, strings.TrimSpace(strings.Join(strings.Fields(rest[:length]), " "))
		r.call(file, &c)
		n += strings.Count(rest[:length], "\n")
		rest = rest[length:]
	}
}

// isSection reports whether a line switches to lines of sendmail.cf.
func isSection(s string) bool {
	switch strings.TrimSuffix(s, "()") {
	case "LOCAL_CONFIG", "LOCAL_RULE_0", "LOCAL_RULE_1", "LOCAL_RULE_2", "LOCAL_RULE_3", "LOCAL_RULESETS", "LOCAL_NET_CONFIG":
		return true
	}
	return false
}

// nextSection finds where lines of sendmail.cf end: at the next section, or at MAILER and such calls.
func nextSection(s string) int {
	at := 0
	for line := range strings.Lines(s) {
		t := strings.TrimSpace(line)
		if isSection(t) || strings.HasPrefix(t, "MAILER(") || strings.HasPrefix(t, "FEATURE(") || strings.HasPrefix(t, "define(") || strings.HasPrefix(t, "divert(") {
			return at
		}
		at += len(line)
	}
	return -1
}

// nextCall reads the macro call that s begins with, and its length. Without one at the first word
// the name is empty. A dnl takes the rest of its line away.
func nextCall(s string) (c call, length int) {
	i := 0
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	start := i
	for i < len(s) && (s[i] == '_' || 'a' <= s[i] && s[i] <= 'z' || 'A' <= s[i] && s[i] <= 'Z' || '0' <= s[i] && s[i] <= '9') {
		i++
	}
	if i == start || i >= len(s) || s[i] != '(' || s[start:i] == "dnl" {
		return call{}, 0
	}
	c.name = s[start:i]
	i++
	for depth, quotes, arg := 1, 0, []byte(nil); i < len(s); i++ {
		ch := s[i]
		switch {
		case ch == '`':
			if quotes++; quotes > 1 {
				arg = append(arg, ch)
			}
		case ch == '\'' && quotes > 0:
			if quotes--; quotes > 0 {
				arg = append(arg, ch)
			}
		case quotes > 0:
			arg = append(arg, ch)
		case ch == '(':
			depth++
			arg = append(arg, ch)
		case ch == ')' && depth > 1:
			depth--
			arg = append(arg, ch)
		case ch == ')':
			c.args = append(c.args, strings.TrimSpace(string(arg)))
			return c, i + 1
		case ch == ',' && depth == 1:
			c.args = append(c.args, strings.TrimSpace(string(arg)))
			arg = nil
		default:
			arg = append(arg, ch)
		}
	}
	return call{}, 0 // never closed: m4 would fail
}

// defines are m4's names of options that are not the long name itself.
var defines = map[string]string{
	"confMAX_MESSAGE_SIZE": "MaxMessageSize", "confMAX_RCPTS_PER_MESSAGE": "MaxRecipientsPerMessage", "confMAX_HOP": "MaxHopCount",
	"confMAX_DAEMON_CHILDREN": "MaxDaemonChildren", "confBAD_RCPT_THROTTLE": "BadRcptThrottle", "confQUEUE_LA": "QueueLA", "confREFUSE_LA": "RefuseLA",
	"confCONNECTION_RATE_THROTTLE": "ConnectionRateThrottle", "confSERVER_CERT": "ServerCertFile", "confSERVER_KEY": "ServerKeyFile",
	"confCACERT": "CACertFile", "confHELO_NAME": "HeloName", "confSMTP_LOGIN_MSG": "SmtpGreetingMessage", "confPRIVACY_FLAGS": "PrivacyOptions",
	"confDOUBLE_BOUNCE_ADDRESS": "DoubleBounceAddress", "confMIN_FREE_BLOCKS": "MinFreeBlocks", "confFALLBACK_MX": "FallbackMXhost",
	"confRUN_AS_USER": "RunAsUser", "confINPUT_MAIL_FILTERS": "InputMailFilters", "ALIAS_FILE": "AliasFile",
}

// call takes one macro call.
func (r *reader) call(file string, c *call) {
	switch c.name {
	case "define":
		r.define(file, c)
	case "FEATURE":
		r.feature(file, c)
	case "DAEMON_OPTIONS":
		r.listener(c.arg(0), file, c.line, c.text)
	case "MASQUERADE_AS":
		r.masquerade(c.arg(0), file, c.line, c.text)
	case "LOCAL_DOMAIN":
		for name := range strings.FieldsSeq(c.arg(0)) {
			r.member('w', name, file, c.line)
		}
	case "RELAY_DOMAIN":
		for name := range strings.FieldsSeq(c.arg(0)) {
			r.member('R', name, file, c.line)
		}
	case "RELAY_DOMAIN_FILE":
		r.class('R', r.host(c.arg(0)))
	case "VIRTUSER_DOMAIN", "VIRTUSER_DOMAIN_FILE":
		r.r.Note(migrate.At(file, c.line, c.text), migrate.Differs, "route.virtusertable", "mail is taken for the addresses that the table has; others of the domain are refused at RCPT")
	case "GENERICS_DOMAIN", "GENERICS_DOMAIN_FILE", "MASQUERADE_DOMAIN", "MASQUERADE_EXCEPTION",
		"EXPOSED_USER", "LOCAL_USER", "CANONIFY_DOMAIN", "TRUST_AUTH_MECH", "INPUT_MAIL_FILTER", "MAIL_FILTER":
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "has no equal")
	case "MAILER":
		switch c.arg(0) {
		case "local", "smtp", "":
		case "procmail":
			r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "local.default_delivery", "`|preline procmail` there has procmail deliver for users without .qmail")
		default:
			r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "there is no mailer %q here", c.arg(0))
		}
	case "OSTYPE", "DOMAIN", "VERSIONID", "include", "divert", "undefine", "sinclude", "CF_LEVEL":
		if c.name == "DOMAIN" || strings.HasSuffix(c.name, "include") && !strings.Contains(c.arg(0), "cf.m4") {
			r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "what that file says is not read: migrate from sendmail.cf to see it")
		}
	default:
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "has no equal")
	}
}

func (r *reader) define(file string, c *call) {
	name, value := c.arg(0), c.arg(1)
	switch {
	case name == "SMART_HOST":
		r.smartHost(value, file, c.line, c.text)
	case name == "confDOMAIN_NAME":
		r.name("host", value, file, c.line, c.text)
	case strings.HasPrefix(name, "confTO_"):
		t := strings.ToLower(strings.TrimPrefix(name, "confTO_"))
		r.timeout(strings.ReplaceAll(t, "_", ""), value, file, c.line, c.text)
	case defines[name] != "":
		r.option(defines[name], value, file, c.line, c.text)
	case name == "MAIL_HUB" || name == "LOCAL_RELAY" || name == "LUSER_RELAY":
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "a relay for users here, or for unknown ones, has no equal: a .qmail-default of alias can forward")
	case name == "LOCAL_MAILER_MAX" || name == "PROCMAIL_MAILER_MAX" || name == "SMTP_MAILER_MAX":
		r.mailerLimit(strings.ToLower(strings.TrimSuffix(name, "_MAILER_MAX")), value, file, c.line, c.text)
	case name == "LOCAL_MAILER_PATH":
		r.localMailer(value, file, c.line, c.text)
	case name == "PROCMAIL_MAILER_PATH" || name == "STATUS_FILE" || name == "UUCP_MAILER_MAX" || strings.HasPrefix(name, "_"):
	case strings.HasPrefix(name, "conf"):
		if !builtIn[strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "conf"), "_", ""))] {
			r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "%s has no equal", name)
		}
	default:
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "has no equal")
	}
}

// feature takes a FEATURE: those that name tables, and those that say who may relay.
func (r *reader) feature(file string, c *call) {
	table := func(usual string) string { // as in `hash -o /etc/mail/access.db'; other forms are m4's names for the usual
		f := strings.Fields(c.arg(1))
		if len(f) == 0 || !strings.HasPrefix(f[len(f)-1], "/") {
			return r.host(usual)
		}
		return r.table(f[len(f)-1])
	}
	taken := func(key string) { r.r.Taken(migrate.At(file, c.line, c.text), key) }
	read := func(key, path string) {
		if _, err := os.Stat(path); err != nil {
			r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, key, "there is no %s", path)
			return
		}
		taken(key)
	}
	switch c.arg(0) {
	case "use_cw_file":
		r.class('w', r.host("/etc/mail/local-host-names"))
		read("route.locals", r.host("/etc/mail/local-host-names"))
	case "access_db":
		path := table("/etc/mail/access")
		r.accessTable(path)
		read("smtp.access_rules", path)
	case "virtusertable":
		path := table("/etc/mail/virtusertable")
		r.file("route.virtusertable", path, false)
		read("route.virtusertable", path)
	case "mailertable":
		path := table("/etc/mail/mailertable")
		r.mailertable(path)
		read("route.routes", path)
	case "promiscuous_relay":
		r.r.Set("policy.any_recipient", "true", file, c.line)
		r.r.Note(migrate.At(file, c.line, c.text), migrate.Differs, "policy.any_recipient", "OPEN RELAY: everybody may send to everywhere")
	case "nullclient":
		r.smartHost(c.arg(1), file, c.line, c.text)
		r.r.Set("route.null_client", "true", file, c.line)
	case "dnsbl":
		r.dnsList(c.arg(1), nil, file, c.line, c.text)
	case "enhdnsbl":
		// FEATURE(`enhdnsbl', `LIST', `TEXT', `t', `127.0.0.2.', …): what it answers counts only if it is named.
		r.dnsList(c.arg(1), c.args[min(len(c.args), 4):], file, c.line, c.text)
	case "rbl":
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "dns_lists.lists", "sendmail has it no more; name a list there")
	case "blacklist_recipients", "blocklist_recipients":
		taken("route.access")
	case "delay_checks":
		r.r.Set("policy.refuse_senders_at", "rcpt", file, c.line)
		taken("policy.refuse_senders_at")
	case "local_procmail":
		r.r.Set("local.default_delivery", "procmail", file, c.line)
		taken("local.default_delivery")
	case "always_add_domain":
		taken("inject.default_host") // programs always do
	case "masquerade_envelope":
		r.r.Note(migrate.At(file, c.line, c.text), migrate.Differs, "inject.default_host", "programs give it to a sender without a host in the envelope and the header alike; senders that name a host are not rewritten")
	case "masquerade_entire_domain", "allmasquerade", "limited_masquerade", "genericstable", "generics_entire_domain", "domaintable":
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "addresses are not rewritten")
	case "relay_entire_domain", "relay_based_on_MX", "relay_local_from", "relay_mail_from", "loose_relay_check":
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "policy.relay_networks", "names that clients or senders give prove nothing: name the clients' addresses")
	case "greet_pause":
		r.greetPause(c, file)
	case "ratecontrol", "conncontrol", "badmx", "require_rdns", "block_bad_helo", "ldap_routing", "smrsh", "local_lmtp", "msp", "lookupdotdomain", "redirect", "preserve_luser_host", "preserve_local_plus_detail":
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "has no equal")
	case "accept_unqualified_senders", "accept_unresolvable_domains":
		r.r.Taken(migrate.At(file, c.line, c.text), "") // nobody asks for more here
	case "authinfo":
		path := table("/etc/mail/authinfo")
		r.authInfo(path)
		read(keyNextHop, path)
	case "nouucp", "no_default_msa", "nocanonify", "stickyhost", "use_ct_file", "notsticky", "tls_session_features", "compat_check", "dns":
	default:
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, "", "feature %q is not known", c.arg(0))
	}
}

// greetPause takes FEATURE(`greet_pause', `MILLISECONDS').
func (r *reader) greetPause(c *call, file string) {
	const key = "smtp.greeting_pause"
	ms, err := strconv.Atoi(strings.TrimSpace(c.arg(1)))
	if err != nil || ms < 0 || ms > int(time.Hour/time.Millisecond) {
		r.r.Note(migrate.At(file, c.line, c.text), migrate.NotCarried, key, "want a number of milliseconds")
		return
	}
	if ms > 0 {
		r.r.Set(key, (time.Duration(ms) * time.Millisecond).String(), file, c.line)
	}
	r.r.Taken(migrate.At(file, c.line, c.text), key)
}
