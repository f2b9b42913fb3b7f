package qmailhost

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQMTPAndQMQPAreTakenFromTheirScripts(t *testing.T) {
	t.Parallel()
	const name = ": set qmqp.listen, and name the hosts that may send to anywhere through it in qmqp.networks"
	qmtp := "qmtp.listen=%s qmtp.access_rules=/etc/tcp.qmtp.cdb qmtp.max_connections=20"
	for _, c := range []struct {
		title, path, script, rules string
		want                       string // values that differ from those of a host without the service
		notes                      []string
	}{
		{"QMTP", "/service/qmtp/run", run("-c 20 -x /etc/tcp.qmtp.cdb -u 64011 -g 2108 192.0.2.1 209 /var/qmail/bin/qmail-qmtpd"), "",
			strings.ReplaceAll(qmtp, "%s", "192.0.2.1:209"), nil},
		{"QMTP by its usual folder", "supervise/qmail-qmtpd/run", run("-c 20 -x /etc/tcp.qmtp.cdb 0 qmtp qmail-qmtpd"), "", strings.ReplaceAll(qmtp, "%s", ":209"), nil},
		{"QMTP without an address", "/service/qmtp/run", run("-c 20 -x /etc/tcp.qmtp.cdb \"$IP\" 209 qmail-qmtpd"), "", strings.ReplaceAll(qmtp, "%s", ":209"),
			[]string{"qmtp/run:2: differs: qmtp -> qmtp.listen; address and port are not plain: port 209 of all addresses is taken"}},
		{"QMQP", "/service/qmqp/run", run("-c 5 -x /etc/tcp.qmqp.cdb 0 628 qmail-qmqpd"), "10.1.:allow\n192.0.2.7-8:allow,X=\"y\"\n10.1.3.:deny\n:deny\n",
			"qmqp.listen=:628 qmqp.access_rules=/etc/tcp.qmqp.cdb qmqp.networks=10.1.0.0/16 | 192.0.2.7/32 | 192.0.2.8/32 qmqp.max_connections=5", nil},
		{"QMQP for everybody", "/service/qmqp/run", run("0 628 qmail-qmqpd"), "", "",
			[]string{"qmqp/run:2: not carried: qmqp -> qmqp.listen; it has no rules, and takes messages to anywhere from every host that reaches it" + name}},
		{"QMQP with a hole", "/service/qmqp/run", run("-x /etc/tcp.qmqp.cdb 0 628 qmail-qmqpd"), "10.:allow\n", "",
			[]string{"qmqp/run:2: not carried: qmqp -> qmqp.listen; its rules let every host in that they do not name" + name}},
		{"QMQP by names", "/service/qmqp/run", run("-x /etc/tcp.qmqp.cdb 0 628 qmail-qmqpd"), "=.example.test:allow\n:deny\n", "",
			[]string{"qmqp/run:2: not carried: qmqp -> qmqp.listen; its rules let in by a name or a user" + name}},
		{"QMQP for nobody", "/service/qmqp/run", run("-x /etc/tcp.qmqp.cdb 0 628 qmail-qmqpd"), ":deny\n", "",
			[]string{"qmqp/run:2: not carried: qmqp -> qmqp.listen; its rules let nobody in" + name}},
		{"QMQP with rules that are not here", "/service/qmqp/run", run("-x /etc/other.cdb 0 628 qmail-qmqpd"), "", "",
			[]string{"qmqp/run:2: not carried: qmqp -> qmqp.listen; the text of its rules cannot be read beside them" + name}},
		{"QMTP over TLS", "/service/qmtp/run", strings.Replace(run("0 209 qmail-qmtpd"), "tcpserver", "sslserver", 1), "", "",
			[]string{"qmtp/run: not carried: run -> qmtp.listen; tcpserver is not found in it"}},
	} {
		o := makeTree(t, map[string]string{"control/me": "mx.example.test\n", "/etc/tcp.qmqp": c.rules, c.path: c.script})
		r := read(t, o)
		var have []string
		for _, service := range []string{"qmtp", "qmqp"} {
			for _, key := range []string{"listen", "access_rules", "networks", "max_connections"} {
				if v := value(r, service+"."+key); v != "(unset)" {
					have = append(have, service+"."+key+"="+strings.ReplaceAll(v, o.Root, ""))
				}
			}
		}
		if d := cmp.Diff(c.want, strings.Join(have, " ")); d != "" {
			t.Errorf("%s: %s", c.title, d)
		}
		var b strings.Builder
		r.WriteNotes(&b, func(s string) string { return strings.ReplaceAll(s, o.Root, "") })
		var notes []string
		for line := range strings.Lines(b.String()) {
			after, ok := strings.CutPrefix(line, "/service/")
			if ok && !strings.Contains(line, ": taken: ") && !strings.Contains(line, "clients above it") {
				notes = append(notes, strings.TrimSuffix(after, "\n"))
			}
		}
		if d := cmp.Diff(c.notes, notes); d != "" {
			t.Errorf("%s: %s", c.title, d)
		}
	}
}
