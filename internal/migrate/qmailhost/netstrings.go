package qmailhost

import (
	"os"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/qmail/tcprules"
)

// The services of qmail-qmtpd and qmail-qmqpd have no usual place and stay off where no script starts them. Who is let in to
// QMQP may send to anywhere: there tcpserver's rules are all that keeps strangers out, so hosts are named from them, and nobody
// is let in by a rule for all.

// qmtpScript takes what starts qmail-qmtpd.
func (r *reader) qmtpScript() {
	run, words, line, ok := r.netstringScript("qmtp", "qmail-qmtpd", "qmtpd")
	if !ok {
		return
	}
	rest := r.tcpserver(words, "qmtp", run.path, line)
	if !r.listener(rest, "qmtp.listen", run.path, line) {
		r.r.SetList("qmtp.listen", []string{":209"}, run.path, line)
		r.r.Note(migrate.At(run.path, line, run.name), migrate.Differs, "qmtp.listen", "address and port are not plain: port 209 of all addresses is taken")
	}
}

// qmqpScript takes what starts qmail-qmqpd, where its rules name hosts.
func (r *reader) qmqpScript() {
	run, words, line, ok := r.netstringScript("qmqp", "qmail-qmqpd", "qmqpd")
	if !ok {
		return
	}
	options, rest := tcpserverOptions(words)
	rules := ""
	for _, o := range options {
		if o.letter == 'x' && o.value.plain {
			rules = o.value.text
		}
	}
	hosts, why := r.allowed(rules)
	if _, plain := address(rest); why == "" && !plain {
		why = "address and port are not plain"
	}
	if why != "" {
		r.r.Note(migrate.At(run.path, line, run.name), migrate.NotCarried, "qmqp.listen",
			"%s: set qmqp.listen, and name the hosts that may send to anywhere through it in qmqp.networks", why)
		return
	}
	for _, o := range options {
		r.tcpserverOption(o.letter, o.value, "qmqp", run.path, line)
	}
	r.r.SetList("qmqp.networks", hosts, r.host(strings.TrimSuffix(rules, ".cdb")), 0)
	r.listener(rest, "qmqp.listen", run.path, line)
}

// netstringScript finds the script of a service and what follows tcpserver in it. The services have no TLS here.
func (r *reader) netstringScript(service string, usual ...string) (run runScript, words []word, line int, ok bool) {
	if run, ok = r.run(service, usual...); !ok {
		return run, nil, 0, false
	}
	if words, line = command(run.text, "tcpserver"); line == 0 {
		r.r.Note(migrate.At(run.path, 0, "run"), migrate.NotCarried, service+".listen", "tcpserver is not found in it")
		return run, nil, 0, false
	}
	return run, words[1:], line, true
}

// allowed lists the hosts that a file of rules lets in; why tells what keeps them from being known. A database is read by
// its text, which stands beside it.
func (r *reader) allowed(rules string) (hosts []string, why string) {
	if rules == "" {
		return nil, "it has no rules, and takes messages to anywhere from every host that reaches it"
	}
	text := r.host(strings.TrimSuffix(rules, ".cdb"))
	p, err := os.ReadFile(text)
	if err != nil {
		return nil, "the text of its rules cannot be read beside them"
	}
	entries, err := tcprules.Parse(text, p)
	if err != nil {
		return nil, "its rules cannot be read: " + err.Error()
	}
	closed := false // whoever no other rule is about
	for _, e := range entries {
		nets, plain := e.Networks()
		switch {
		case e.Address == "":
			closed = e.Deny
		case !e.Deny && !plain:
			return nil, "its rules let in by a name or a user"
		case !e.Deny:
			for _, n := range nets {
				hosts = append(hosts, n.String())
			}
		}
	}
	switch {
	case !closed:
		return nil, "its rules let every host in that they do not name"
	case hosts == nil:
		return nil, "its rules let nobody in"
	}
	return hosts, ""
}
