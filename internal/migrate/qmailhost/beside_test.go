package qmailhost

import (
	"slices"
	"strings"
	"testing"
)

// notesOf are the notes about services, without the folders before them.
func notesOf(t *testing.T, files map[string]string) (notes []string, listen string) {
	t.Helper()
	files["control/me"], files["bin/qmail-smtpd"] = "mx.example.test\n", ""
	o := makeTree(t, files)
	r := read(t, o)
	var b strings.Builder
	r.WriteNotes(&b, func(s string) string { return strings.ReplaceAll(s, o.Root, "") })
	for line := range strings.Lines(b.String()) {
		if after, ok := strings.CutPrefix(line, "/service/"); ok {
			notes = append(notes, strings.TrimSuffix(after, "\n"))
		}
	}
	return notes, value(r, "smtp.listen")
}

// run is a service's script with what stands after tcpserver.
func run(rest string) string {
	return "#!/bin/sh\nexec softlimit -m 9000000 tcpserver -v -R " + rest + " 2>&1\n"
}

func TestServicesBesideTheFirstAreTakenOrTold(t *testing.T) {
	t.Parallel()
	const (
		rules      = "-x /etc/a.cdb "
		first      = "a/run:2: taken: 192.0.2.1 25 -> smtp.listen"
		firstRules = "a/run:2: taken: -x /etc/a.cdb -> smtp.access_rules"
	)
	for name, c := range map[string]struct {
		second string // the script; the first listens at 192.0.2.1:25 with rules
		listen string
		want   []string
	}{
		"alike":           {run(rules + "127.0.0.1 25 /var/qmail/bin/qmail-smtpd"), "192.0.2.1:25 | 127.0.0.1:25", []string{"b/run:2: taken: 127.0.0.1 25 -> smtp.listen"}},
		"on another port": {run(rules + "192.0.2.1 2525 /var/qmail/bin/qmail-smtpd"), "192.0.2.1:25 | 192.0.2.1:2525", []string{"b/run:2: taken: 192.0.2.1 2525 -> smtp.listen"}},
		"other rules": {run("-x /etc/b.cdb 127.0.0.1 25 /var/qmail/bin/qmail-smtpd"), "192.0.2.1:25",
			[]string{"b/run:2: not carried: b -> smtp.listen; it listens at 127.0.0.1:25 with other rules, programs or variables than /service/a/run, and one listener has one set of them: add it to the key, if those of the latter shall hold there"}},
		"another filter": {"QMAILQUEUE=/bin/x; export QMAILQUEUE\n" + run(rules+"127.0.0.1 25 /var/qmail/bin/qmail-smtpd"), "192.0.2.1:25",
			[]string{"b/run:3: not carried: b -> smtp.listen; it listens at 127.0.0.1:25 with other rules, programs or variables than /service/a/run, and one listener has one set of them: add it to the key, if those of the latter shall hold there"}},
		"the same address": {run("192.0.2.1 smtp /var/qmail/bin/qmail-smtpd"), "192.0.2.1:25",
			[]string{"b/run:2: not carried: b -> smtp.listen; /service/a/run listens at 192.0.2.1:25 too: what else this one does is not taken"}},
		"all addresses": {run(rules + "0 25 /var/qmail/bin/qmail-smtpd"), "192.0.2.1:25",
			[]string{"b/run:2: not carried: b -> smtp.listen; it listens at :25, which the key's addresses have in them already"}},
		"not plain": {run(rules + "$IP 25 /var/qmail/bin/qmail-smtpd"), "192.0.2.1:25",
			[]string{"b/run:2: not carried: b -> smtp.listen; its address and port are not plain: add them to the key, if what it takes shall be taken here"}},
		"another qmail's": {run(rules + "127.0.0.1 25 /opt/qmail/bin/qmail-smtpd"), "192.0.2.1:25", nil},
		"TLS on a port of its own": {strings.Replace(run(rules+"0 4650 /var/qmail/bin/qmail-smtpd"), "tcpserver", "sslserver", 1), "192.0.2.1:25",
			[]string{"b/run:2: not carried: b -> submissions.listen; it listens at :4650, which is not taken: add it to the key, if what it takes shall be taken here"}},
	} {
		notes, listen := notesOf(t, map[string]string{"/service/a/run": run(rules + "192.0.2.1 25 /var/qmail/bin/qmail-smtpd"), "/service/b/run": c.second})
		if listen != c.listen {
			t.Errorf("%s: smtp.listen is %q, want %q", name, listen, c.listen)
		}
		want := append([]string{firstRules, first}, c.want...)
		slices.Sort(want)
		slices.Sort(notes)
		if !slices.Equal(notes, want) {
			t.Errorf("%s: have\n%s\nwant\n%s", name, strings.Join(notes, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestAServiceThatIsDownIsNotTaken(t *testing.T) {
	t.Parallel()
	notes, listen := notesOf(t, map[string]string{"/service/a/run": run("192.0.2.1 25 qmail-smtpd"), "/service/b/run": run("127.0.0.1 25 qmail-smtpd"), "/service/b/down": ""})
	if listen != "192.0.2.1:25" || len(notes) != 1 {
		t.Errorf("have %q, %q", listen, notes)
	}
}

func TestWhatStandsAroundAServerIsTold(t *testing.T) {
	t.Parallel()
	for script, want := range map[string][]string{
		run("0 25 rblsmtpd -r bl.example recordio qmail-smtpd"):                              {"a/run:2: not carried: recordio; dialogues are not written down all the time: `record` does so for a while"},
		run("0 25 recordio recordio /var/qmail/bin/qmail-smtpd"):                             {"a/run:2: not carried: recordio; dialogues are not written down all the time: `record` does so for a while"},
		run("0 25 fixcrio qmail-smtpd"):                                                      {"a/run:2: taken: fixcrio -> smtp.bare_newline"},
		run("0 25 /usr/local/bin/spamdyke -f /etc/spamdyke.conf /var/qmail/bin/qmail-smtpd"): {"a/run:2: not carried: /usr/local/bin/spamdyke; it is not run: see what it does for mail"},
		"# QMAILQUEUE=no\n" + run("0 25 setuidgid qmaild env DATABYTES=99 RELAYCLIENT= QMAILQUEUE='/bin/scan it' qmail-smtpd"): {
			"a/run:3: not carried: DATABYTES=99 -> policy.databytes; name the size in the key",
			"a/run:3: not carried: RELAYCLIENT=; clients of this service may not relay: let those who may log in, or name them in the client rules",
			"a/run:3: not carried: QMAILQUEUE='/bin/scan it' -> submit.filter; the program is not run: name it in the key"},
		"export QMAILQUEUE=\"/bin/scan\"\n" + run("0 25 qmail-smtpd"): {"a/run:1: not carried: QMAILQUEUE=\"/bin/scan\" -> submit.filter; the program is not run: name it in the key"},
		run("0 25 softlimit -m 20000000 qmail-smtpd"):                 {},
	} {
		notes, _ := notesOf(t, map[string]string{"/service/a/run": script})
		notes = slices.DeleteFunc(notes, func(s string) bool { return strings.Contains(s, "smtp.listen") || strings.Contains(s, "dns_lists") })
		slices.Sort(notes)
		slices.Sort(want)
		if !slices.Equal(notes, want) {
			t.Errorf("%s: have\n%s\nwant\n%s", script, strings.Join(notes, "\n"), strings.Join(want, "\n"))
		}
	}
}
