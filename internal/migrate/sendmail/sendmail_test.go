package sendmail

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/migrate/migratetest"
)

// etc makes a folder of sendmail's files, as /etc/mail of a root, and returns the options for it.
func etc(t testing.TB, files map[string]string) Options {
	t.Helper()
	dir, root := migratetest.Tree(t, "/etc/mail", files)
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

// settings are a report's values as texts, the root cut off.
func settings(r *migrate.Report, root string) map[string]string {
	m := map[string]string{}
	for _, s := range r.Settings {
		m[s.Key] = strings.ReplaceAll(s.Value+strings.Join(s.List, " | "), root, "")
	}
	return m
}

// tables are the files beside sendmail.cf and sendmail.mc, which mean the same with either.
func tables() map[string]string {
	return map[string]string{
		"local-host-names": "# names\nexample.test\nWWW.example.test\n",
		"relay-domains":    "backup.example\n192.0.2\n2001:db8::/32\n",
		"mailertable":      "inside.example\tesmtp:[gw.example]\n.org.example\tsmtp:mx.example\nport.example\trelay:[192.0.2.9]:26\nuucp.example\tuucp-dom:x\nbroken\n",
		"access.db":        "\x00\x06\x15\x61", "mailertable.db": "\x00", "virtusertable.db": "\x00", // what makemap made of them
		"access":        "Connect:192.0.2.7\tREJECT\n192.0.2\tRELAY\nFrom:spam@bad.example\tREJECT\nbad2.example\t550 no\nTo:secret@example.test\tREJECT\nClientRate:192.0.2.1\t5\nfriend@good.example OK\n",
		"virtusertable": "info@virtual.example joe\n",
		"/etc/aliases":  "root: joe\n",
		"genericstable": "joe joe@out.example\n",
	}
}

// both is what cf and mc below have in common.
func both() map[string]string {
	return map[string]string{
		"host": "mx.example.test", "route.locals": "example.test | www.example.test | mx.example.test", "route.next_hop": "smart.example mx",
		"policy.rcpthosts": "backup.example | .backup.example", "policy.relay_networks": "192.0.2.0/24 | 2001:db8::/32",
		"route.routes":      "inside.example:gw.example | .org.example:mx.example mx | port.example:192.0.2.9:26",
		"smtp.access_rules": "access:/etc/mail/access", "route.access": "/etc/mail/access",
		"policy.bad_senders": "spam@bad.example | @bad2.example", "route.virtusertable": "/etc/mail/virtusertable", "route.alias_files": "/etc/aliases",
		"policy.max_size": "10000000", "policy.max_send_size": "10000000", "dispatch.lifetime": "120h0m0s", "dispatch.delay_notice": "4h0m0s",
		"smtp.listen": "127.0.0.1:25", "submission.listen": ":587", "tls.cert": "/etc/mail/tls/cert.pem", "policy.max_recipients": "100",
		"inject.default_host": "example.test", "local.default_delivery": "|dot-forward .forward\nspool", "route.system_users": "true", "runas.enabled": "true",
	}
}

const cfText = `# a small sendmail.cf
V10/Berkeley
Cwlocalhost
Fw/etc/mail/local-host-names %[^\#]
FR-o /etc/mail/relay-domains
Djmx.example.test
DSesmtp:smart.example
DMexample.test
Kmailertable hash -o /etc/mail/mailertable.db
Kvirtuser hash -o /etc/mail/virtusertable.db
Kaccess hash -T<TMPF> -o /etc/mail/access.db
O MaxMessageSize=10000000
O Timeout.queuereturn=5d
O Timeout.queuewarn=4h
O Timeout.queuewarn.urgent=1h
O DaemonPortOptions=Port=smtp,Addr=127.0.0.1, Name=MTA
O DaemonPortOptions=Port=submission, Name=MSA, M=E
O ServerCertFile=/etc/mail/tls/cert.pem
O MaxRecipientsPerMessage=100
O AliasFile=/etc/aliases
O ConnectionRateThrottle=3
O NoSuchOption=1
HSubject: $>Check_Subject
H?M?Message-Id: <$t.$i@$j>
SCheck_Subject
RILOVEYOU	$#error $: 501 no love
RRe:ILOVEYOU $#error $: 501 no love
SLocal_check_mail
R$*	$: $1
Scanonify=3
R$@	$@ <@>
Mlocal,		P=/usr/libexec/mail.local, F=lsDFMAw5:/|@qSPfhn9,
		T=DNS/RFC822/X-Unix
`

const mcText = "divert(-1)dnl\ndnl a small sendmail.mc\nVERSIONID(`x')dnl\nOSTYPE(`linux')dnl\n" +
	"define(`confDOMAIN_NAME', `mx.example.test')dnl\ndefine(`SMART_HOST', `esmtp:smart.example')dnl\n" +
	"define(`confMAX_MESSAGE_SIZE', `10000000')dnl\ndefine(`confTO_QUEUERETURN', `5d')dnl\ndefine(`confTO_QUEUEWARN',`4h')dnl\n" +
	"define(`confSERVER_CERT', `/etc/mail/tls/cert.pem')dnl\ndefine(`confMAX_RCPTS_PER_MESSAGE', `100')dnl\n" +
	"define(`ALIAS_FILE', `/etc/aliases')dnl\nFEATURE(`use_cw_file')dnl\nFEATURE(`access_db', `hash -T<TMPF> -o /etc/mail/access.db')dnl\n" +
	"FEATURE(`mailertable', `hash -o /etc/mail/mailertable.db')dnl\nFEATURE(`virtusertable', `hash -o /etc/mail/virtusertable.db')dnl\n" +
	"FEATURE(`no_default_msa')dnl\nDAEMON_OPTIONS(`Port=smtp,Addr=127.0.0.1, Name=MTA')dnl\nDAEMON_OPTIONS(`Port=submission, Name=MSA, M=E')dnl\n" +
	"MASQUERADE_AS(`example.test')dnl\nFEATURE(`relay_entire_domain')dnl\ndefine(`LUSER_RELAY', `joe@x.example')dnl\n" +
	"MAILER(`local')dnl\nMAILER(`smtp')dnl\nLOCAL_CONFIG\nHSubject: $>Check_Subject\nLOCAL_RULESETS\nSCheck_Subject\nRILOVEYOU\t$#error $: 501 no love\nRRe:ILOVEYOU $#error $: 501 no love\n"

func TestSendmailsSettingsAreTaken(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"sendmail.cf": cfText, "sendmail.mc": mcText} {
		files := tables()
		files[name] = text
		o := etc(t, files)
		if diff := cmp.Diff(both(), settings(read(t, o), o.Root)); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
}

// The program that delivers users' mail and a limit of its messages stand in mailers alone.
func TestMailersTellHowUsersMailIsDelivered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, delivery, notes string }{
		{"sendmail.cf", "V10\nMlocal,\t\tP=/usr/bin/procmail, F=lsDFMAw5:/|@qSPfhn9, S=EnvFromL/HdrFromL,\n\t\tT=DNS/RFC822/X-Unix, M=5024000,\n\t\tA=procmail -Y -a $h -d $u\n",
			"|preline procmail", "sendmail.cf:2: not carried: Mlocal: M=5024000 -> policy.max_size; sendmail bounces larger mail for users here; the key refuses it from the network, whoever it is for: write \"5024000\" there if that is meant\n" +
				"sendmail.cf:2: taken: Mlocal: P=/usr/bin/procmail -> local.default_delivery\n"},
		{"sendmail.cf", "V10\nMlocal, P=/usr/sbin/sensible-mda, F=lsDF,\n\tA=sensible-mda $g\nMesmtp, P=[IPC], M=10000000, A=TCP $h\n",
			"spool", "sendmail.cf:2: not carried: Mlocal: P=/usr/sbin/sensible-mda -> local.default_delivery; users' mail goes into their mailboxes in /var/mail; a line such as |preline /usr/sbin/sensible-mda there has a program deliver it\n" +
				"sendmail.cf:4: not carried: Mesmtp: M=10000000; one mailer's largest message has no equal: policy.max_size and policy.max_send_size are for all mail\n"},
		{"sendmail.mc", "define(`LOCAL_MAILER_MAX', `5024000')dnl\nFEATURE(`local_procmail')dnl\n",
			"|preline procmail", "sendmail.mc:1: not carried: define(`LOCAL_MAILER_MAX', `5024000') -> policy.max_size; sendmail bounces larger mail for users here; the key refuses it from the network, whoever it is for: write \"5024000\" there if that is meant\n" +
				"sendmail.mc:2: taken: FEATURE(`local_procmail') -> local.default_delivery\n"},
	} {
		o := etc(t, map[string]string{tt.name: tt.text})
		o.Tools = "/opt/postilion-tools"
		r := read(t, o)
		if s, _ := r.Get("local.default_delivery"); s.Value != "|/opt/postilion-tools dot-forward .forward\n"+tt.delivery {
			t.Errorf("%s: %+v, want %s", tt.name, s, tt.delivery)
		}
		var b strings.Builder
		r.WriteNotes(&b, func(s string) string { return s })
		for want := range strings.Lines(tt.notes) {
			if !strings.Contains(b.String(), "/"+want) {
				t.Errorf("%s: want %q in\n%s", tt.name, want, b.String())
			}
		}
	}
}

// Header checks that are right are taken as they stand.
func TestHeaderChecksAreTakenAsTheyStand(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"sendmail.cf": cfText, "sendmail.mc": mcText} {
		files := tables()
		files[name] = strings.Replace(text, "RRe:ILOVEYOU $#", "RRe:ILOVEYOU\t$#", 1)
		o := etc(t, files)
		r := read(t, o)
		s, ok := r.Get("content_rules.files")
		if !ok || len(s.List) != 1 || !strings.HasPrefix(s.List[0], "sendmail:/") || !strings.HasSuffix(s.List[0], "/"+name) {
			t.Errorf("%s: %+v", name, s)
		}
		var b bytes.Buffer
		r.WriteNotes(&b, func(s string) string { return s })
		if !strings.Contains(b.String(), ": taken: HSubject: $>Check_Subject -> content_rules.files\n") || !strings.Contains(b.String(), ": taken: RRe:ILOVEYOU\t$#error $: 501 no love -> content_rules.files\n") {
			t.Errorf("%s:\n%s", name, b.String())
		}
	}
}

// TestWhatSendmailSaysIsToldLineByLine holds the words for what is carried otherwise or not at all.
func TestWhatSendmailSaysIsToldLineByLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"sendmail.cf": {cfText, []string{
			"/sendmail.cf:14: taken: O Timeout.queuewarn=4h -> dispatch.delay_notice\n",
			"/sendmail.cf:15: not carried: O Timeout.queuewarn.urgent=1h -> dispatch.delay_notice; all messages have the same\n",
			"/sendmail.cf:21: not carried: O ConnectionRateThrottle=3 -> smtp.connection_rate; sendmail limits all clients together, the key each one a minute\n",
			"/sendmail.cf:22: not carried: O NoSuchOption=1; option NoSuchOption has no equal\n",
			"/sendmail.cf:23: not carried: HSubject: $>Check_Subject -> content_rules.files; the header checks are taken all or none: ",
			"/sendmail.cf:26: not carried: RILOVEYOU\t$#error $: 501 no love -> content_rules.files; the header checks are taken all or none: ",
			"/sendmail.cf:27: \"Re:ILOVEYOU $#error $: 501 no love\": want a tab between the left and the right side\n",
			"/sendmail.cf:27: not carried: RRe:ILOVEYOU $#error $: 501 no love; a space stands where a tab belongs: sendmail sees no right side in it\n",
			"/sendmail.cf:29: not carried: R$*\t$: $1; rule of Local_check_mail: addresses and clients are not rewritten or judged by rules here\n",
			"/sendmail.cf: differs: 1 stock rewriting rules; what they do is built in",
			"/relay-domains:1: differs: backup.example -> policy.rcpthosts; mail to it is taken from everybody; clients of that name may not relay: name their addresses\n",
			"/mailertable:4: not carried: uucp.example\tuucp-dom:x -> route.routes; there is no mailer \"uucp-dom\" here\n",
			"/mailertable:5: not carried: broken -> route.routes; want a domain, blanks, and MAILER:HOST\n",
			"/access:1: taken: Connect:192.0.2.7\tREJECT -> smtp.access_rules\n",
			"/access:6: not carried: ClientRate:192.0.2.1\t5; limits of clients are keys of the listeners",
			"/access:7: not carried: friend@good.example OK; exceptions for senders have no equal\n",
			"/genericstable:1: not carried: joe joe@out.example; senders are rewritten by the table of ofmipd and new-inject alone\n",
		}},
		"sendmail.mc": {mcText, []string{
			"/sendmail.mc:6: taken: define(`SMART_HOST', `esmtp:smart.example') -> route.next_hop\n",
			"/sendmail.mc:21: not carried: FEATURE(`relay_entire_domain') -> policy.relay_networks; names that clients or senders give prove nothing",
			"/sendmail.mc:22: not carried: define(`LUSER_RELAY', `joe@x.example'); a relay for users here, or for unknown ones, has no equal",
			"/sendmail.mc:26: not carried: HSubject: $>Check_Subject -> content_rules.files; the header checks are taken all or none: ",
			"/sendmail.mc:30: not carried: RRe:ILOVEYOU $#error $: 501 no love; a space stands where a tab belongs: sendmail sees no right side in it\n",
		}},
	} {
		files := tables()
		files[name] = c.text
		var b bytes.Buffer
		read(t, etc(t, files)).WriteNotes(&b, func(s string) string { return s })
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: want %q in\n%s", name, want, b.String())
			}
		}
	}
}

// Names and passwords for other hosts are taken where they are for the next hop, and never told.
func TestTheNextHopGetsItsNameAndPassword(t *testing.T) {
	t.Parallel()
	const own = "AuthInfo:other.example \"U:x\" \"P:no\"\nAuthInfo:smart.example \"U:root\" \"I:me\" \"P:sec ret\" \"M:PLAIN\"\nAuthInfo: \"U:any\" \"P=c2VjcmV0\"\nAuthInfo:broken \"U:x\"\n"
	for name, c := range map[string]struct{ mc, table, authinfo, want string }{
		"of its own":        {"define(`SMART_HOST', `[smart.example]')dnl\n", "authinfo", own, "smart.example user=me password=sec%20ret"},
		"for all":           {"define(`SMART_HOST', `relay:any.example')dnl\n", "authinfo", own, "any.example mx user=any password=secret"},
		"in the access map": {"define(`SMART_HOST', `smart.example')dnl\n", "access", own, "smart.example mx user=me password=sec%20ret"},
		"for nobody":        {"", "authinfo", own, ""},
	} {
		r := read(t, etc(t, map[string]string{"sendmail.mc": c.mc + "FEATURE(`access_db')dnl\nFEATURE(`authinfo', `hash -o /etc/mail/authinfo.db')dnl\n", c.table: c.authinfo}))
		if s, _ := r.Get("route.next_hop"); s.Value != c.want {
			t.Errorf("%s: %q, want %q", name, s.Value, c.want)
		}
		var b bytes.Buffer
		r.WriteNotes(&b, func(s string) string { return s })
		if strings.Contains(b.String(), "sec ret") || !strings.Contains(b.String(), "/"+c.table+`:4: not carried: AuthInfo:broken -> route.next_hop; want AuthInfo:HOST "U:NAME" "P:PASSWORD"`) {
			t.Errorf("%s:\n%s", name, b.String())
		}
	}
}

// What stock files and busy hosts say besides.
func TestLinesOfGrownHostsAreUnderstood(t *testing.T) {
	t.Parallel()
	o := etc(t, map[string]string{
		"sendmail.mc": "define(`SMART_HOST', `relay:[a.example]:[b.example]')dnl\nFEATURE(`accept_unresolvable_domains')dnl\nVIRTUSER_DOMAIN(`virt.example')dnl\n" +
			"FEATURE(`mailertable', `hash -o /etc/mail/mailertable.db')dnl\nFEATURE(`virtusertable', `hash -o /etc/mail/lost.db')dnl\n",
		"lost.db":          "\x00",
		"mailertable":      "two.example\tesmtp:gw.example:gw2.example\nsix.example\tsmtp:[IPv6:2001:db8::1]:26\n",
		"local-host-names": "example.test\n",
		"access":           "TLS_Rcpt:secure.example\tVERIFY\n",
	})
	r := read(t, o)
	for key, want := range map[string]string{"route.next_hop": "a.example", "route.routes": "two.example:gw.example mx | six.example:[IPv6:2001:db8::1]:26"} {
		if have := settings(r, o.Root)[key]; have != want {
			t.Errorf("%s: %q, want %q", key, have, want)
		}
	}
	var b bytes.Buffer
	r.WriteNotes(&b, func(s string) string { return s })
	for _, want := range []string{
		"sendmail.mc:1: differs: define(`SMART_HOST', `relay:[a.example]:[b.example]') -> route.next_hop; only the first of the hosts is tried",
		"sendmail.mc:2: taken: FEATURE(`accept_unresolvable_domains')\n",
		"sendmail.mc:3: differs: VIRTUSER_DOMAIN(`virt.example') -> route.virtusertable; mail is taken for the addresses that the table has",
		"lost.db: not carried: lost.db; compiled tables are not read, and there is no ",
		"mailertable:1: differs: two.example\tesmtp:gw.example:gw2.example -> route.routes; only the first of the hosts is tried",
		"access:1: not carried: TLS_Rcpt:secure.example\tVERIFY -> route.routes; what TLS a host must have is said there",
		"not carried: the host's own name -> route.locals; no file says it",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
}

func TestTheMailertablesLineForAllGoesBeforeTheSmartHost(t *testing.T) {
	t.Parallel()
	o := etc(t, map[string]string{"sendmail.mc": "define(`SMART_HOST', `a.example')dnl\n", "mailertable": ". smtp:b.example\n"})
	have := settings(read(t, o), o.Root)
	if _, ok := have["route.next_hop"]; ok || have["route.routes"] != ":b.example mx" {
		t.Errorf("%v", have)
	}
}

func TestTheCFCountsBeforeTheMC(t *testing.T) {
	t.Parallel()
	o := etc(t, map[string]string{"sendmail.cf": "Djcf.example.test\n", "sendmail.mc": "define(`confDOMAIN_NAME', `mc.example.test')\n"})
	if s, _ := read(t, o).Get("host"); s.Value != "cf.example.test" {
		t.Errorf("host %q", s.Value)
	}
	o.Dir = filepath.Join(o.Dir, "sendmail.mc")
	if s, _ := read(t, o).Get("host"); s.Value != "mc.example.test" {
		t.Errorf("host %q", s.Value)
	}
	if _, err := Read(Options{Dir: t.TempDir()}); err == nil || !strings.HasPrefix(err.Error(), "there is no sendmail.cf and no sendmail.mc in ") {
		t.Errorf("error %v", err)
	}
}

func TestAPauseBeforeTheGreetingIsTaken(t *testing.T) {
	t.Parallel()
	for feature, want := range map[string]string{"`greet_pause', `5000'": "5s", "`greet_pause', `0'": "", "`greet_pause'": "", "`greet_pause', `x'": ""} {
		r := read(t, etc(t, map[string]string{"sendmail.mc": "define(`confDOMAIN_NAME', `mc.example.test')\nFEATURE(" + feature + ")\n"}))
		if s, _ := r.Get("smtp.greeting_pause"); s.Value != want {
			t.Errorf("%s: %q, want %q", feature, s.Value, want)
		}
	}
}

func FuzzSendmail(f *testing.F) {
	f.Add("sendmail.cf", cfText, "x y\n")
	f.Add("sendmail.mc", mcText, "192.0.2 RELAY\nTo:x RELAY\n")
	f.Add("sendmail.mc", "define(`a', `b(`c')'", "[:1\n: :\n")
	f.Add("sendmail.cf", "O\nK\nH$>\nS\nR\nF{\nC{w\nD\n", "")
	f.Fuzz(func(t *testing.T, name, text, table string) {
		if name != "sendmail.cf" {
			name = "sendmail.mc"
		}
		read(t, etc(t, map[string]string{name: text, "access": table, "mailertable": table, "relay-domains": table, "local-host-names": table}))
	})
}

// The lists that clients are refused by are taken from the macros' calls and from the rules these make.
func TestDNSListsAreTaken(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"sendmail.mc": "define(`confDOMAIN_NAME', `mx.example.test')\nFEATURE(`dnsbl', `bl.example', `\"550 listed\"')\n" +
			"FEATURE(`enhdnsbl', `codes.example', `\"listed\"', `t', `127.0.0.2.', `127.0.0.3.')\nFEATURE(`enhdnsbl', `other.example', `x', `', `$-.$-.$-.2.')\nFEATURE(`dnsbl')\n",
		"sendmail.cf": "Djmx.example.test\nKdnsbl host -T<TMP>\nKedns dns -R A -T. -a. -r5\nSBasic_check_relay\nR$*\t$: $&{client_addr}\n" +
			"R$-.$-.$-.$-\t$: <?> $(dnsbl $4.$3.$2.$1.bl.example. $: OK $)\nR$-.$-.$-.$-\t$: <?> $(edns $4.$3.$2.$1.codes.example. $: OK $)\n",
	} {
		r := read(t, etc(t, map[string]string{name: text}))
		want := []string{"bl.example", map[bool]string{true: "codes.example codes=127.0.0.2,127.0.0.3", false: "codes.example"}[name == "sendmail.mc"]}
		if s, _ := r.Get("dns_lists.lists"); !cmp.Equal(s.List, want) {
			t.Errorf("%s: %q, want %q", name, s.List, want)
		}
		if s, _ := r.Get("dns_lists.permanent"); s.Value != "true" {
			t.Errorf("%s: permanent is %q", name, s.Value)
		}
		var b bytes.Buffer
		r.WriteNotes(&b, func(s string) string { return s })
		for _, want := range map[string][]string{"sendmail.cf": {"bl.example. $: OK $) -> dns_lists.lists; refused at RCPT"},
			"sendmail.mc": {"; the answers that count are a pattern: name them there, as other.example codes=", "FEATURE(`dnsbl') -> dns_lists.lists; it names no list"}}[name] {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: want %q in\n%s", name, want, b.String())
			}
		}
	}
}

// What of masquerading programs do by inject.default_host is told apart from what nobody does.
func TestWhatBecomesOfMasqueradingIsTold(t *testing.T) {
	t.Parallel()
	o := etc(t, map[string]string{"sendmail.mc": "MASQUERADE_AS(`example.test')dnl\nFEATURE(`masquerade_envelope')dnl\nFEATURE(`always_add_domain')dnl\n" +
		"FEATURE(`masquerade_entire_domain')dnl\nMASQUERADE_DOMAIN(`in.example.test')dnl\nFEATURE(`genericstable')dnl\n"})
	r := read(t, o)
	if s, ok := r.Get("inject.default_host"); !ok || s.Value != "example.test" {
		t.Errorf("%+v", s)
	}
	var b bytes.Buffer
	r.WriteNotes(&b, func(s string) string { return s })
	for _, want := range []string{
		":1: differs: MASQUERADE_AS(`example.test') -> inject.default_host; addresses without a host get it, in the header and the envelope",
		":2: differs: FEATURE(`masquerade_envelope') -> inject.default_host; programs give it to a sender without a host in the envelope and the header alike",
		":3: taken: FEATURE(`always_add_domain') -> inject.default_host\n",
		":4: not carried: FEATURE(`masquerade_entire_domain'); addresses are not rewritten\n",
		":5: not carried: MASQUERADE_DOMAIN(`in.example.test'); has no equal\n",
		":6: not carried: FEATURE(`genericstable'); addresses are not rewritten\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
}

// A list of who may send is not passed over, least of all an empty one, which lets nobody.
func TestAListOfWhoMaySendIsTold(t *testing.T) {
	t.Parallel()
	for _, list := range []string{"", "joe\n"} {
		var b strings.Builder
		read(t, etc(t, map[string]string{"sendmail.cf": "V10/Berkeley\nDjmx.example.test\n", "smtpauth": list})).WriteNotes(&b, func(s string) string { return s })
		if !strings.Contains(b.String(), "/etc/mail/smtpauth: not carried: smtpauth; here all who log in may send: ") {
			t.Errorf("%q: %s", list, b.String())
		}
	}
}
