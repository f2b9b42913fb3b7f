package qmailhost

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/migrate/migratetest"
	"github.com/postilion/postilion/internal/qmail/control"
)

// makeTree makes a tree of the files given by their paths and returns its root; the qmail is in
// /var/qmail below it.
func makeTree(t testing.TB, files map[string]string) Options {
	t.Helper()
	dir, root := migratetest.Tree(t, "/var/qmail", files)
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

// value is a setting as one text.
func value(r *migrate.Report, key string) string {
	s, ok := r.Get(key)
	switch {
	case !ok:
		return "(unset)"
	case s.List != nil:
		return strings.Join(s.List, " | ")
	}
	return s.Value
}

func TestEveryControlFileHasItsEffect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, content, key, want string }{
		{"me", "mx.example.test\n", "host", "mx.example.test"},
		{"me", "mx.example.test  \nsecond line\n", "host", "mx.example.test"},
		{"badmailfrom", "joe@bad.example\n@spam.example\n# c\n", "policy.bad_senders", "joe@bad.example | @spam.example"},
		{"badmailfrom", "joe@bad.example\n", "policy.refuse_senders_at", "rcpt"},
		{"bouncefrom", "robot\n", "bounce.bouncefrom", "robot"},
		{"bouncehost", "bounces.example.test\n", "bounce.bouncehost", "bounces.example.test"},
		{"concurrencyincoming", "40\n", "smtp.max_connections", "40"},
		{"concurrencylocal", "5\n", "dispatch.local_parallel", "5"},
		{"concurrencyremote", "0\n", "dispatch.remote_parallel", "-1"},
		{"concurrencyremote", "30\n", "dispatch.remote_parallel", "30"},
		{"concurrencyremote", "many\n", "dispatch.remote_parallel", "(unset)"},
		{"databytes", "1000\n", "policy.databytes", "1000"},
		{"databytes", "1000\n", "policy.max_send_size", noLimit},
		{"databytes", "0\n", "policy.max_size", noLimit},
		{"defaultdelivery", "|dot-forward .forward\n./Maildir/\n", keyDefaultDelivery, "|dot-forward .forward\n./Maildir/"},
		{"defaultdomain", "example.test\n", "inject.default_domain", "example.test"},
		{"defaulthost", "example.test\n", "inject.default_host", "example.test"},
		{"doublebouncehost", "example.test\n", "bounce.doublebouncehost", "example.test"},
		{"doublebounceto", "void\n", "bounce.doublebounceto", "void"},
		{"envnoathost", "example.test\n", keyEnvNoAtHost, "example.test"},
		{"helohost", "out.example.test\n", "remote.helo", "out.example.test"},
		{"idhost", "id.example.test\n", "inject.id_host", "id.example.test"},
		{"localiphost", "ip.example.test\n", keyLocalIPHost, "ip.example.test"},
		{"locals", "localhost\nexample.test\n\n#x\n", keyLocals, "localhost | example.test"},
		{"locals", "", keyLocals, "(unset)"},
		{"percenthack", "gate.example.test\n", keyPercentHack, "gate.example.test"},
		{"plusdomain", "example.test\n", "inject.plus_domain", "example.test"},
		{"qmqpservers", "192.0.2.1\nno address\n", keyQMQPServers, "(unset)"},
		{"queuelifetime", "432000\n", "dispatch.lifetime", "120h0m0s"},
		{"queuelifetime", "0\n", "dispatch.lifetime", "1s"},
		{"rcpthosts", "example.test\n.example.test\n", "policy.rcpthosts", "example.test | .example.test"},
		{"rcpthosts", "example.test\n", "policy.rcpthosts_only", "true"},
		{"smtpgreeting", "mx.example.test NO UCE\n", "smtp.greeting", "NO UCE ESMTP"},
		{"smtpgreeting", "other.example.test\n", "smtp.greeting", "other.example.test ESMTP"},
		{"smtproutes", "inside.example:gw.example:26\n.example.org:\n:smart.example.net\nv6.example:[2001:db8::1]:2525\nno colon\n", keyRoutes,
			"inside.example:gw.example:26 | .example.org: | :smart.example.net | v6.example:[IPv6:2001:db8::1]:2525"},
		{"smtproutes", "a.example:relay.example:587|me|se cret\n", keyRoutes, "a.example:relay.example:587 user=me password=se%20cret"},
		{"smtproutes", "!@:relay.example\n", keyRoutes, "(unset)"},
		{"timeoutconnect", "30\n", "remote.timeout_connect", "30s"},
		{"timeoutremote", "600\n", "remote.timeout_dot", "10m0s"},
		{"timeoutsmtpd", "300\n", "smtp.idle_timeout", "5m0s"},
		{"virtualdomains", "a.example:joe\njoe@b.example:joe-b\n.c.example:c\nexc.c.example:\n:all\nA.example:late\n", keyVirtualDomains,
			"joe@b.example:joe-b | .c.example:c | exc.c.example: | :all | A.example:late"},
		{"badrcptto", "former@example.test\n", "policy.bad_recipients", "former@example.test"},
		{"bouncemaxbytes", "50000\n", "bounce.bounce_max_return", "50000"},
		{"maxhops", "50\n", "dispatch.max_hops", "50"},
		{"maxrecipients", "100\n", "policy.max_recipients", "100"},
		{"brtlimit", "3\n", "smtp.max_errors", "3"},
		{"dnsbllist", "bl.example\n-bad.example\nx\n", keyDNSLists, "bl.example | bad.example"},
		{"dnsbllist", "-bad.example\n", "dns_lists.permanent", "true"},
		{"outgoingip", "192.0.2.1\n", "remote.bind4", "192.0.2.1"},
	} {
		files := map[string]string{"control/me": "mx.example.test\n"}
		files["control/"+c.file] = c.content
		r := read(t, makeTree(t, files))
		if have := value(r, c.key); have != c.want {
			t.Errorf("%s %q: %s is %q, want %q", c.file, c.content, c.key, have, c.want)
		}
	}
}

func TestMissingFilesMeanQmailsDefaults(t *testing.T) {
	t.Parallel()
	r := read(t, makeTree(t, map[string]string{"control/me": "mx.example.test\n"}))
	want := map[string]string{
		"host": "mx.example.test", keyLocals: "mx.example.test", keyEnvNoAtHost: "mx.example.test", "remote.helo": "mx.example.test",
		"bounce.bouncefrom": "MAILER-DAEMON", "bounce.doublebounceto": "postmaster", "policy.max_size": noLimit,
		"dispatch.lifetime": "168h0m0s", "remote.timeout_connect": "1m0s", "remote.timeout_greeting": "20m0s",
		"smtp.idle_timeout": "20m0s", "smtp.greeting": "ESMTP", keyDefaultDelivery: "./Mailbox", "policy.any_recipient": "true",
	}
	for key, v := range want {
		if have := value(r, key); have != v {
			t.Errorf("%s is %q, want %q", key, have, v)
		}
	}
}

func TestAMissingRcpthostsIsTold(t *testing.T) {
	t.Parallel()
	r := read(t, makeTree(t, map[string]string{"control/me": "mx.example.test\n"}))
	for _, n := range r.Notes {
		if strings.HasSuffix(n.File, "control/rcpthosts") && strings.HasPrefix(n.Text, "OPEN RELAY") {
			return
		}
	}
	t.Errorf("nothing tells of the open relay: %+v", r.Notes)
}

func TestALivingTreeNamesItsFiles(t *testing.T) {
	t.Parallel()
	o := makeTree(t, map[string]string{"control/me": "mx.example.test\n", "control/locals": "a.example\n", "control/rcpthosts": "a.example\n",
		"control/morercpthosts": "b.example\n", "control/morercpthosts.cdb": "x", "control/virtualdomains": "v.example:joe\n"})
	o.Live = true
	r := read(t, o)
	c := filepath.Join(o.Dir, "control")
	for key, want := range map[string]string{
		keyLocalsFile: c + "/locals", keyVirtualDomainsFile: c + "/virtualdomains", keyPercentHackFile: c + "/percenthack",
		keyRoutesFile: c + "/smtproutes", keyRcptHosts: c + "/rcpthosts | " + c + "/morercpthosts.cdb", keyLocals: "(unset)",
	} {
		if have := value(r, key); have != want {
			t.Errorf("%s is %q, want %q", key, have, want)
		}
	}
}

func TestControlAndBinMayBeSymbolicLinks(t *testing.T) {
	t.Parallel()
	o := makeTree(t, map[string]string{"/etc/qmail/control/me": "mx.example.test\n", "alias/.qmail-root": "&joe\n"})
	if err := os.Symlink(filepath.Join(o.Root, "/etc/qmail/control"), filepath.Join(o.Dir, "control")); err != nil {
		t.Fatal(err)
	}
	if have := value(read(t, o), "host"); have != "mx.example.test" {
		t.Errorf("host is %q", have)
	}
}

func TestAMiniQmailHandsAllMailOn(t *testing.T) {
	t.Parallel()
	o := makeTree(t, map[string]string{"control/me": "mx.example.test\n", "control/qmqpservers": "192.0.2.1\nmail.example\n", "bin/qmail-qmqpc": ""})
	if err := os.Symlink("qmail-qmqpc", filepath.Join(o.Dir, "bin/qmail-queue")); err != nil {
		t.Fatal(err)
	}
	r := read(t, o)
	if value(r, keyQMQPServers) != "192.0.2.1" || value(r, "route.null_client") != "true" {
		t.Errorf("servers %s, null client %s", value(r, keyQMQPServers), value(r, "route.null_client"))
	}
}

func TestStartScriptsAreReadWherePlain(t *testing.T) {
	t.Parallel()
	run := "#!/bin/sh\nQMAILDUID=`id -u qmaild`\nMAXSMTPD=`cat /var/qmail/control/concurrencyincoming`\n" +
		"exec /usr/local/bin/softlimit -m 2000000 \\\n  /usr/local/bin/tcpserver -v -R -l \"$LOCAL\" -x /etc/smtp-rules.cdb -c %C \\\n" +
		"  -u \"$QMAILDUID\" -g 2108 %A smtp /var/qmail/bin/qmail-smtpd 2>&1\n"
	smtpd := func(c, a string) string { return strings.NewReplacer("%C", c, "%A", a).Replace(run) }
	for name, c := range map[string]struct {
		files map[string]string
		want  map[string]string
	}{
		"life with qmail": {
			map[string]string{"rc": "#!/bin/sh\nexec env - PATH=\"/var/qmail/bin:$PATH\" \\\nqmail-start \"`cat /var/qmail/control/defaultdelivery`\"\n", "control/defaultdelivery": "./Maildir/\n"},
			map[string]string{keyDefaultDelivery: "./Maildir/", "log.format": "qmail", "log.to": "(unset)"}},
		"boot/home": {
			map[string]string{"rc": "#!/bin/sh\n# qmail-start in a comment\nexec env - PATH=\"/var/qmail/bin:$PATH\" \\\nqmail-start ./Mailbox splogger qmail\n", "control/defaultdelivery": "./Maildir/\n"},
			map[string]string{keyDefaultDelivery: "./Mailbox", "log.to": "syslog"}},
		"boot/home+df": {
			map[string]string{"rc": "exec qmail-start '|dot-forward .forward\n./Mailbox' splogger qmail\n"},
			map[string]string{keyDefaultDelivery: "|dot-forward .forward\n./Mailbox"}},
		"not plain": {
			map[string]string{"rc": "exec qmail-start \"$ALIASEMPTY\"\n"},
			map[string]string{keyDefaultDelivery: "./Mailbox"}},
		"smtpd": {
			map[string]string{"supervise/qmail-smtpd/run": smtpd(`"$MAXSMTPD"`, "0"), "control/concurrencyincoming": "33\n"},
			map[string]string{"smtp.max_connections": "33", "smtp.listen": ":25"}},
		"smtpd at an address": {
			map[string]string{"supervise/qmail-smtpd/run": smtpd("20", "192.0.2.1")},
			map[string]string{"smtp.max_connections": "20", "smtp.listen": "192.0.2.1:25"}},
		"smtpd not plain": {
			map[string]string{"supervise/qmail-smtpd/run": smtpd("20", "$IP")},
			map[string]string{"smtp.listen": "(unset)"}},
		"smtpd behind rblsmtpd": {
			map[string]string{"supervise/qmail-smtpd/run": strings.Replace(smtpd("20", "0"), "/var/qmail/bin/qmail-smtpd", "rblsmtpd -b -a good.example -rbad.example -t 20 -r 'a b' /var/qmail/bin/qmail-smtpd", 1)},
			map[string]string{keyDNSLists: "good.example allow | bad.example", "dns_lists.permanent": "true"}},
		"pop3": {
			map[string]string{"supervise/qmail-pop3d/run": "exec tcpserver -c 7 -x /etc/tcp.pop3.cdb 127.0.0.1 pop3 qmail-popup mx checkpassword qmail-pop3d Maildir\n"},
			map[string]string{"pop3.listen": "127.0.0.1:110", "pop3.max_connections": "7", "pop3s.listen": "", "submission.listen": ""}},
		"broken": {
			map[string]string{"rc": "qmail-start `unclosed", "supervise/qmail-smtpd/run": "tcpserver -x"},
			map[string]string{keyDefaultDelivery: "./Mailbox", "smtp.listen": "(unset)"}},
	} {
		c.files["control/me"] = "mx.example.test\n"
		o := makeTree(t, c.files)
		r := read(t, o)
		for key, want := range c.want {
			if have := value(r, key); have != want {
				t.Errorf("%s: %s is %q, want %q", name, key, have, want)
			}
		}
		if strings.HasPrefix(name, "smtpd") {
			if have := value(r, keyClientRules); have != filepath.Join(o.Root, "/etc/smtp-rules.cdb") {
				t.Errorf("%s: client rules %q", name, have)
			}
		}
	}
}

// Hosts whose services stand right in what svscan looks at, under names of their own.
func TestServicesAreKnownByWhatTheyStart(t *testing.T) {
	t.Parallel()
	files := func(service string) map[string]string {
		return map[string]string{
			"control/me":         "mx.example.test\n",
			"bin/qmail-smtpd":    "",
			"/service/dns/run":   "exec envuidgid dnscache softlimit -o250 dnscache\n",
			"/service/q/run":     "exec env - PATH=\"/var/qmail/bin:$PATH\" qmail-start ./Maildir/ splogger qmail\n",
			"/service/web/run":   "exec tcpserver 0 80 httpd\n",
			"/service/other/run": "exec tcpserver -x /etc/other.cdb 0 25 /opt/other/bin/qmail-smtpd\n",
			service + "/run": "#!/bin/sh\nexec softlimit -m 20000000 tcpserver -v -R -H -l 0 -x /etc/smtp-rules.cdb -c 40 -u 501 -g 501 0 25 \\\n" +
				"  rblsmtpd -r bl.example /var/qmail/bin/qmail-smtpd 2>&1\n",
			"/service/tls/run":   "exec sslserver -x /etc/smtps.cdb 0 465 /var/qmail/bin/qmail-smtpd\n",
			"/service/msa/run":   "exec tcpserver 0 submission /var/qmail/bin/qmail-smtpd mx checkpassword true\n",
			"/service/pop3d/run": "exec tcpserver -v -R -H -l 0 192.0.2.1 110 qmail-popup mx /bin/checkpassword qmail-pop3d Maildir\n",
		}
	}
	want := map[string]string{
		"smtp.max_connections": "40", "smtp.listen": ":25", keyDNSLists: "bl.example", "submission.listen": ":587", "submissions.listen": ":465",
		"pop3.listen": "192.0.2.1:110", "pop3s.listen": "", "log.to": "syslog", keyDefaultDelivery: "./Maildir/",
	}
	// As svscan finds it, within the qmail, and as taking over sets it aside.
	for _, service := range []string{"/service/smtpd", "/etc/service/in", "supervise/mail-in", "service/smtpd", "/service/" + migrate.AsidePrefix + "smtpd"} {
		o := makeTree(t, files(service))
		r := read(t, o)
		for key, want := range want {
			if have := value(r, key); have != want {
				t.Errorf("%s: %s is %q, want %q", service, key, have, want)
			}
		}
		if have := value(r, keyClientRules); have != filepath.Join(o.Root, "/etc/smtp-rules.cdb") {
			t.Errorf("%s: client rules %q", service, have)
		}
		if watched := Files(o); !slices.Contains(watched, filepath.Join(o.Root, "/service/pop3d/run")) {
			t.Errorf("a change of /service/pop3d/run is not seen: %q", watched)
		}
	}
	// The folder of the usual name counts before others.
	usual := files("/service/smtpd")
	usual["supervise/qmail-smtpd/run"] = "exec tcpserver 0 2525 /var/qmail/bin/qmail-smtpd\n"
	if have := value(read(t, makeTree(t, usual)), "smtp.listen"); have != ":2525" {
		t.Errorf("smtp.listen is %q", have)
	}
}

// Who may log in is not the same where another program than checkpassword knew.
func TestTheProgramThatChecksPasswordsIsTold(t *testing.T) {
	t.Parallel()
	for run, want := range map[string]string{
		"exec tcpserver -H -l 0 0 110 /var/qmail/bin/qmail-popup \\\nmx /bin/checkpassword /var/qmail/bin/qmail-pop3d Maildir 2>&1\n": "run:1: taken: /bin/checkpassword -> route.system_users\n",
		"exec tcpserver -v 0 110 qmail-popup mx \\\n  /home/vpopmail/bin/vchkpw qmail-pop3d Maildir\n":                                "run:1: not carried: /home/vpopmail/bin/vchkpw; it is not asked: who logs in is a user of the system, or an account made with `domain add` and `account add`\n",
	} {
		o := makeTree(t, map[string]string{"control/me": "mx.example.test\n", "supervise/qmail-pop3d/run": run})
		var b strings.Builder
		read(t, o).WriteNotes(&b, func(s string) string { return s })
		if !strings.Contains(b.String(), "/supervise/qmail-pop3d/"+want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
		if want := "/supervise/qmail-pop3d/run: differs: qmail-pop3d -> pop3.listen; passwords without TLS are refused: "; !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
	for run, want := range map[string]string{
		"exec tcpserver 0 25 qmail-smtpd mx.example.test /home/vpopmail/bin/vchkpw /bin/true 2>&1\n": "/home/vpopmail/bin/vchkpw;",
		"exec tcpserver 0 25 qmail-smtpd /home/vpopmail/bin/vchkpw /bin/true 2>&1\n":                 "/home/vpopmail/bin/vchkpw;",
		"exec tcpserver 0 25 qmail-smtpd checkpassword true\n":                                       "checkpassword -> route.system_users",
	} {
		o := makeTree(t, map[string]string{"control/me": "mx.example.test\n", "supervise/qmail-smtpd/run": run})
		var b strings.Builder
		read(t, o).WriteNotes(&b, func(s string) string { return s })
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
	o := makeTree(t, map[string]string{"control/me": "mx.example.test\n", "supervise/qmail-pop3d/run": "tcpserver 0 110 qmail-popup $HOST $CHECK qmail-pop3d\n"})
	read(t, o) // nothing plain to tell of
}

func TestClientRulesAreFound(t *testing.T) {
	t.Parallel()
	o := makeTree(t, map[string]string{"control/me": "mx.example.test\n", "/etc/tcp.smtp": "127.:allow,RELAYCLIENT=\"\"\n"})
	if have := value(read(t, o), keyClientRules); have != filepath.Join(o.Root, tcpRules) {
		t.Errorf("without cdb: %q", have)
	}
	if err := os.WriteFile(filepath.Join(o.Root, tcpRules+".cdb"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if have := value(read(t, o), keyClientRules); have != filepath.Join(o.Root, tcpRules+".cdb") {
		t.Errorf("with cdb: %q", have)
	}
}

func TestNoLoadKeepsAQmailFromItsWork(t *testing.T) {
	t.Parallel()
	r := read(t, makeTree(t, map[string]string{"control/me": "mx.example.test\n"}))
	for _, key := range []string{"process.queue_load", "floors.refuse_load"} {
		if have := value(r, key); have != "-1" {
			t.Errorf("%s is %q", key, have)
		}
	}
}

// TestBrokenControlFilesAreTold holds the words for each kind of broken file.
func TestBrokenControlFilesAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, content, want string }{
		{"me", "", "not carried: me -> host; missing or empty: qmail does not start without it"},
		{"me", "two words\n", "not carried: two words -> host; "},
		{"badmailfrom", "spammer\n", "not carried: spammer -> policy.bad_senders; want user@host or @host"},
		{"concurrencyremote", "500\n", "differs: 500 -> dispatch.remote_parallel; qmail silently uses 120 at most; here it is as written"},
		{"helohost", "a\x07b\n", "not carried: a\x07b -> remote.helo; want printable text"},
		{"locals", "a b\n", "not carried: a b -> route.locals; no domain can match this"},
		{"qmqpservers", "192.0.2.1\n", "/bin/qmail-queue is no link to qmail-qmqpc, so nothing reads it"},
		{"smtproutes", "a.example:gw.example:port\n", `not carried: a.example:gw.example:port -> route.routes; relay "gw.example": port "port", want a number from 1 to 65535`},
		{"morercpthosts", "a.example\n", "not carried: morercpthosts -> policy.rcpthosts; it counts only beside rcpthosts, which is missing"},
		{"virtualdomains", "a.example: joe\n", "not carried: a.example: joe -> route.virtual_domains; it holds a blank, so it matches nothing"},
		{"locale", "a.example\n", "not carried: locale; no program of qmail reads a file of this name"},
		{"taps", "x\n", "not carried: taps; copies are configured as archive recipients, without patterns"},
		{"tlshosts/mx.far.example.pem", "x\n", "not carried: tlshosts; TLS that a host must have is said by its route: tls=verify"},
		{"queuelifetime", "0\n", "differs: 0 -> dispatch.lifetime; taken as 1 seconds"},
	} {
		files := map[string]string{"control/me": "mx.example.test\n"}
		files["control/"+c.file] = c.content
		var b bytes.Buffer
		read(t, makeTree(t, files)).WriteNotes(&b, func(s string) string { return s })
		if !strings.Contains(b.String(), c.want) {
			t.Errorf("%s %q: want %q in\n%s", c.file, c.content, c.want, b.String())
		}
	}
}

func TestAFolderThatIsNoQmailIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Read(Options{Dir: dir}); err == nil || err.Error() != dir+" is no qmail folder: no such file or directory" {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "control"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(Options{Dir: dir}); err == nil || err.Error() != dir+" is no qmail folder: control is no folder" {
		t.Errorf("error %v", err)
	}
}

// TestTheTableIsComplete holds the table against the list of control files.
func TestTheTableIsComplete(t *testing.T) {
	t.Parallel()
	rows := map[string]Row{}
	for _, row := range Rows() {
		if _, twice := rows[row.Name]; twice {
			t.Errorf("%s stands twice", row.Name)
		}
		rows[row.Name] = row
		if (row.Take == nil) != (row.Keys == nil) || row.Take == nil && row.Instead == "" {
			t.Errorf("%s: want either keys and what takes them, or what to do instead", row.Name)
		}
	}
	for _, f := range control.Files() {
		if _, ok := rows[f.Name]; !ok {
			t.Errorf("control/%s is not in the table", f.Name)
		}
	}
}

func TestWhatIsReadIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	o := makeTree(t, map[string]string{"control/me": "mx.example.test\n", "control/locals": "a.example\nb.example\n", "control/unknown": "x"})
	if diff := cmp.Diff(read(t, o), read(t, o)); diff != "" {
		t.Error(diff)
	}
}

func FuzzControlFiles(f *testing.F) {
	for _, row := range Rows() {
		f.Add(row.Name, []byte("a.example:b.example:25\n#\n 1\n\x00\r\n"))
	}
	f.Add("rc", []byte("exec qmail-start '|a\n./b' `x` \"$y\" \\\n z"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		if name == "" || strings.ContainsAny(name, "/\x00") || len(name) > 100 || name == "." || name == ".." {
			return
		}
		files := map[string]string{"control/me": "mx.example.test\n", "supervise/qmail-smtpd/run": string(content), "rc": string(content)}
		files["control/"+name] = string(content)
		read(t, makeTree(t, files))
	})
}

// Clients are answered as qmail-smtpd answers them, and what successors' files say of bounces is taken.
func TestRepliesAndBouncesSpeakAsBefore(t *testing.T) {
	t.Parallel()
	r := read(t, makeTree(t, map[string]string{
		"/var/qmail/control/me": "mx.example.test\n", "/var/qmail/control/bouncesubject": "returned mail\n",
		"/var/qmail/control/bouncemessage": "Your mail could not be delivered.\n\n<evil@x.test>:\nSee https://help.example/\n",
	}))
	for key, want := range map[string]string{
		"smtp.replies": "qmail", "submission.replies": "qmail", "submissions.replies": "qmail", "smtp.bare_newline": "defer",
		"bounce.bouncesubject": "returned mail", "bounce.unmarked": "true",
	} {
		if got, _ := r.Get(key); got.Value != want {
			t.Errorf("%s is %+v, want %q", key, got, want)
		}
	}
	if got, _ := r.Get("bounce.bouncemessage"); !strings.Contains(got.Value+strings.Join(got.List, "|"), "Your mail could not be delivered.|See https://help.example/") {
		t.Errorf("bouncemessage is %+v", got)
	}
}
