package postfix

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/migrate/migratetest"
)

func etc(t testing.TB, files map[string]string) Options {
	t.Helper()
	dir, root := migratetest.Tree(t, "/etc/postfix", files)
	return Options{Dir: dir, Root: root}
}

func read(t testing.TB, o Options) *migrate.Report {
	t.Helper()
	r, err := Read(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const mainCF = `# a small main.cf
myhostname = mx.example.test
mydomain = example.test
myorigin = /etc/mailname
mydestination = $myhostname, example.test, localhost.$mydomain,
	localhost, /etc/postfix/local-names
mynetworks = 127.0.0.0/8 [::1]/128 192.0.2.0/24 !192.0.2.9
relay_domains = backup.example
relayhost = [smart.example]:submission
smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd
transport_maps = hash:/etc/postfix/transport, ldap:/etc/x
virtual_alias_maps = hash:/etc/postfix/virtual
alias_maps = hash:/etc/aliases
alias_database = hash:/etc/aliases
message_size_limit = 20480000
maximal_queue_lifetime = 3d
delay_warning_time = 4
smtpd_timeout = 300s
smtpd_banner = $myhostname ESMTP $mail_name
smtpd_tls_cert_file=/etc/ssl/mx.pem
smtpd_tls_key_file=/etc/ssl/mx.key
smtp_tls_security_level = dane-only
inet_interfaces = loopback-only
recipient_delimiter = +
home_mailbox = Maildir/
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination,
    reject_rbl_client bl.example, check_sender_access hash:/etc/postfix/senders, reject_unknown_sender_domain
smtpd_milters = inet:127.0.0.1:8891
biff = no
always_bcc = archive@example.test
smtpd_recipient_limit = 200
smtpd_recipient_limit = 300
a line without a sign
strange_parameter = 1
`

func tables() map[string]string {
	return map[string]string{
		"main.cf": mainCF, "/etc/mailname": "example.test\n", "local-names": "# c\nthird.example\n", "sasl_passwd": "[smart.example]:submission me:p:w d\n",
		"transport": "inside.example smtp:[gw.example]:26\n.org.example relay:mx.example\n* :\nlmtp.example lmtp:unix:/x\n",
		"virtual":   "virtual.example anything\ninfo@virtual.example joe\n@catch.example joe,jane\npostmaster root\n",
		"senders":   "bad.example REJECT go away\nspam@bad2.example 550 no\ngood.example OK\n", "/etc/aliases": "root: joe\n",
	}
}

func TestPostfixSettingsAreTaken(t *testing.T) {
	t.Parallel()
	o := etc(t, tables())
	have := map[string]string{}
	for _, s := range read(t, o).Settings {
		have[s.Key] = strings.ReplaceAll(s.Value+strings.Join(s.List, " | "), o.Root, "")
	}
	want := map[string]string{
		"host": "mx.example.test", "inject.default_host": "example.test", "route.default_domain": "example.test", "dns_lists.permanent": "true",
		"route.locals":          "mx.example.test | example.test | localhost.example.test | localhost | third.example",
		"policy.relay_networks": "127.0.0.0/8 | ::1/128 | 192.0.2.0/24", "policy.rcpthosts": "backup.example | .backup.example",
		"route.next_hop":      "smart.example:587 user=me password=p:w%20d",
		"route.routes":        "inside.example:gw.example:26 | .org.example:mx.example mx",
		"route.virtusertable": "/etc/postfix/virtual", "route.alias_files": "/etc/aliases", "policy.max_size": "20480000", "policy.max_send_size": "20480000",
		"dispatch.lifetime": "72h0m0s", "dispatch.delay_notice": "4h0m0s", "smtp.idle_timeout": "5m0s", "smtp.data_timeout": "5m0s", "smtp.greeting": "ESMTP Postfix",
		"tls.cert": "/etc/ssl/mx.pem", "tls.key": "/etc/ssl/mx.key", "route.tls": "opportunistic", "smtp.listen": "127.0.0.1:25 | [::1]:25", "route.user_break": "+",
		"local.default_delivery": "|dot-forward .forward\n./Maildir/", "archive.copies": "* archive@example.test", "dns_lists.lists": "bl.example", "policy.bad_senders": "@bad.example | spam@bad2.example",
		"policy.max_recipients": "300", "route.system_users": "true", "runas.enabled": "true",
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
}

// What grown hosts have besides.
func TestTablesAndPatternsOfGrownHostsAreUnderstood(t *testing.T) {
	t.Parallel()
	o := etc(t, map[string]string{
		"main.cf": "myhostname = mx.example.test\nrelayhost = smart.example\ntransport_maps = hash:/etc/postfix/transport\nrelay_domains = hash:/etc/postfix/relay, $mydestination\n" +
			"mydestination = cdb:/etc/postfix/own\nmynetworks = 127.0.0.0/8, cidr:/etc/postfix/nets\n" +
			"smtpd_recipient_restrictions = reject_rbl_client zen.example=127.0.0.[2..11], reject_rbl_client b.example=127.0.0.[2;4..6], reject_rbl_client c.example=127.0.0.3,\n" +
			" reject_rbl_client d.example=127.0.[0..1].[2..3]\nsmtp_tls_CApath = /etc/ssl/certs\n",
		"transport": "* smtp:[gw.example]\n", "relay": "backup.example OK\n", "own": "example.test x\n",
	})
	r := read(t, o)
	for key, want := range map[string]string{
		"route.routes": ":gw.example", "route.next_hop": "", "policy.rcpthosts": "backup.example | .backup.example | example.test | .example.test", "route.locals": "example.test",
		"dns_lists.lists": "zen.example codes=127.0.0.2-127.0.0.11 | b.example codes=127.0.0.2,127.0.0.4-127.0.0.6 | c.example codes=127.0.0.3",
	} {
		if s, _ := r.Get(key); s.Value+strings.Join(s.List, " | ") != want {
			t.Errorf("%s: %+v, want %q", key, s, want)
		}
	}
	var b bytes.Buffer
	r.WriteNotes(&b, func(s string) string { return s })
	for _, want := range []string{
		"main.cf:2: not carried: the next hop for all mail -> route.next_hop; a route for all domains goes before it\n",
		"reject_rbl_client -> dns_lists.lists; the answers that count are a pattern: name them there, as d.example codes=127.0.0.2-127.0.0.11\n",
		"main.cf:9: taken: smtp_tls_CApath = /etc/ssl/certs -> remote.ca_file\n",
		"main.cf:6: not carried: mynetworks = cidr:/etc/postfix/nets -> policy.relay_networks; tables of kind cidr are not read\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
}

// TestWhatPostfixSaysIsToldLineByLine holds the words for what is carried otherwise or not at all.
func TestWhatPostfixSaysIsToldLineByLine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	read(t, etc(t, tables())).WriteNotes(&b, func(s string) string { return s })
	for _, want := range []string{
		"/main.cf:7: not carried: !192.0.2.9 -> policy.relay_networks; exceptions have no equal: name the networks that remain\n",
		"/main.cf:11: not carried: transport_maps = hash:/etc/postfix/transport, ldap:/etc/x -> route.routes; tables of kind ldap are not read\n",
		"/main.cf:22: differs: smtp_tls_security_level = dane-only -> route.tls; certificates are checked where DANE or MTA-STS say which are right; to other hosts TLS is used where it is offered\n",
		"/main.cf:26: not carried: smtpd_recipient_restrictions: reject_unknown_sender_domain; has no equal\n",
		"/main.cf:26: taken: smtpd_recipient_restrictions: reject_rbl_client -> dns_lists.lists\n",
		"/main.cf:28: not carried: smtpd_milters = inet:127.0.0.1:8891; mail filters (milters) are not spoken to; submit.filter runs a program for each message\n",
		"/main.cf:31: not carried: smtpd_recipient_limit = 200; smtpd_recipient_limit stands again in line 32, which is the one that counts\n",
		"/main.cf:33: not carried: a line without a sign; want NAME = VALUE\n",
		"/main.cf:34: not carried: strange_parameter = 1; has no equal\n",
		"/transport:4: not carried: lmtp.example lmtp:unix:/x -> route.routes; there is no transport \"lmtp\" here\n",
		"/virtual:1: differs: virtual.example anything -> route.virtusertable; says that the domain is one of aliases: it needs no such line here\n",
		"/virtual:3: taken: @catch.example joe,jane -> route.virtusertable\n",
		"/senders:3: not carried: good.example OK -> policy.bad_senders; only refusals are carried\n",
		"/sasl_passwd:1: taken: [smart.example]:submission (with a user and a password) -> route.next_hop\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "p:w d") {
		t.Error("a password is told")
	}
}

func TestParametersReferToEachOther(t *testing.T) {
	t.Parallel()
	o := etc(t, map[string]string{"main.cf": "myhostname = ${a}.$(b)\na = mx\nb = $c\nc = example.test\nloop = $loop$loop\nsmtpd_banner = $$x $loop\n"})
	if s, _ := read(t, o).Get("host"); s.Value != "mx.example.test" {
		t.Errorf("host %q", s.Value)
	}
}

// mailbox_command comes before home_mailbox wherever they stand, and its variables are the shell's.
func TestACommandDeliversWithItsVariables(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"mailbox_command = procmail -a \"$EXTENSION\"\nhome_mailbox = Maildir/\n":            "|preline procmail -a \"${EXT}\"",
		"home_mailbox =\nmailbox_command = $lib/deliver -d ${USER} -r $(DOMAIN)\nlib=/opt\n": "|preline /opt/deliver -d ${USER} -r ${HOST}",
		"mailbox_command =\nhome_mailbox = Mailbox\n":                                        "./Mailbox",
	} {
		o := etc(t, map[string]string{"main.cf": "myhostname = mx.example.test\n" + text})
		s, _ := read(t, o).Get("local.default_delivery")
		if got := strings.TrimPrefix(s.Value, "|dot-forward .forward\n"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzMainCF(f *testing.F) {
	f.Add(mainCF, "a b\n c\n")
	f.Add("mydestination = ${", "x")
	f.Add("relayhost = [::1]:25\nmynetworks=/0", "@ REJECT\n")
	f.Add("myhostname = mx.$mydomain\nrelay_domains = $mydomain $myhostname", "")
	f.Fuzz(func(t *testing.T, text, table string) {
		files := tables()
		files["main.cf"] = text
		for _, name := range []string{"transport", "virtual", "senders", "sasl_passwd"} {
			files[name] = table
		}
		read(t, etc(t, files))
	})
}

// mydomain's default is taken from myhostname, which may name it.
func TestParametersThatNameThemselvesHaveAnEnd(t *testing.T) {
	t.Parallel()
	for _, main := range []string{"myhostname = mx.$mydomain\n", "myhostname = $mydomain$mydomain$mydomain\n", "mydomain = $mydomain\nmyhostname = $mydomain\n", "a = $b\nb = $a\nmyhostname = $a\n"} {
		r := read(t, etc(t, map[string]string{"main.cf": main + "relay_domains = backup.example $mydomain\n"}))
		s, _ := r.Get("policy.rcpthosts")
		if !slices.Contains(s.List, "backup.example") {
			t.Errorf("%q: relay_domains are %q", main, s.List)
		}
	}
}

// Header checks are read as they stand; what looks at less stays so.
func TestHeaderChecksAreTakenAsTheyStand(t *testing.T) {
	t.Parallel()
	const key = "content_rules.files"
	for _, tt := range []struct{ main, want, says string }{
		{"header_checks = regexp:/etc/postfix/header_checks\n", "/etc/postfix/header_checks", "taken: header_checks = regexp:/etc/postfix/header_checks -> " + key},
		{"header_checks = pcre:/etc/postfix/header_checks\nmime_header_checks = regexp:/etc/postfix/mime\n", "header:/etc/postfix/header_checks | nested:/etc/postfix/header_checks | mime:/etc/postfix/mime", ""},
		{"header_checks = hash:/etc/postfix/header_checks, regexp:/etc/postfix/bad\n", "", "hash:/etc/postfix/header_checks: rules are read from tables of the types regexp and pcre"},
		{"header_checks = regexp:/etc/postfix/bad\n", "", "bad:1: action \"IGNORE\": want REJECT"},
		{"header_checks = regexp:none\n", "", "regexp:none: want an absolute path"},
	} {
		o := etc(t, map[string]string{"main.cf": tt.main, "header_checks": "/^Subject: ILOVEYOU/ REJECT no worms\n", "mime": "/name=.*\\.exe/ REJECT\n", "bad": "/^Received:/ IGNORE\n"})
		r := read(t, o)
		s, _ := r.Get(key)
		if got := strings.ReplaceAll(strings.Join(s.List, " | "), o.Root, ""); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.main, got, tt.want)
		}
		var b bytes.Buffer
		r.WriteNotes(&b, func(s string) string { return s })
		if !strings.Contains(b.String(), tt.says) {
			t.Errorf("%q: %s", tt.main, b.String())
		}
	}
}
