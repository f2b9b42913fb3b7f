package qmailhost

// A host may run a server of the qmail more than once: qmail-smtpd for another address, on another port, with
// other rules. A listener here has one set of rules for all of its addresses, so another service gives its address where it is run
// alike, and is told of where it is not: nothing is opened to more clients than before, and nothing is left out silently.

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
)

// started is how a script starts one of the qmail's servers.
type started struct {
	runScript
	service string // as the configuration calls it
	line    int
	options []option
	rest    []word // address and port, and the command
}

// starts reads how a script starts a server. ok is false where it starts none of this qmail's.
func (r *reader) starts(s runScript) (st started, ok bool) {
	words, line := command(s.text, "tcpserver")
	tls := line == 0
	if tls {
		words, line = command(s.text, "sslserver")
	}
	if line == 0 {
		return st, false
	}
	st = started{runScript: s, line: line, service: r.serves(s.text)}
	st.options, st.rest = tcpserverOptions(words[1:])
	if st.service != "" {
		return st, true
	}
	for program, of := range map[string][2]string{"qmail-smtpd": {"smtp", "submissions"}, "qmail-popup": {"pop3", "pop3s"},
		"qmail-qmtpd": {"qmtp", "qmtp"}, "qmail-qmqpd": {"qmqp", "qmqp"}} {
		if slices.ContainsFunc(st.rest, func(w word) bool { return r.own(w, program) }) {
			st.service = of[0] // on a port of its own
			if tls {
				st.service = of[1]
			}
			return st, true
		}
	}
	return st, false
}

// rules are what decides about a service's clients: what two must have alike to be one listener.
func (st *started) rules() (list []string) {
	for _, o := range st.options {
		if o.letter == 'x' {
			list = append(list, o.value.text)
		}
	}
	for i, w := range st.rest {
		if i < 2 {
			continue // address and port
		}
		list = append(list, w.text)
	}
	for _, v := range environment(st.text) {
		list = append(list, v.text)
	}
	return list
}

// beside tells of the services that are not the first for their listener, and of what the scripts do besides listening.
func (r *reader) beside() {
	for _, s := range r.scripts() {
		st, ok := r.starts(s)
		for service, used := range r.used {
			if used.path == s.path && st.line > 0 { // whatever its server's path
				st.service, ok = service, false
				r.wrapped(&st)
			}
		}
		if ok && !isDown(s.path) {
			r.another(&st, r.used[st.service])
		}
	}
}

// isDown reports whether a service is not started (supervise(8)).
func isDown(path string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(path), "down"))
	return err == nil
}

// another takes the address of a service that is not the first for its listener, or says why not.
func (r *reader) another(st *started, first runScript) {
	key := st.service + ".listen"
	addr, plain := address(st.rest)
	at := migrate.At(st.path, st.line, st.name)
	main, _ := r.starts(first)
	have, _ := r.r.Get(key)
	switch {
	case !plain:
		r.r.Note(at, migrate.NotCarried, key, "its address and port are not plain: add them to the key, if what it takes shall be taken here")
	case first.path == "" || len(have.List) == 0:
		r.r.Note(at, migrate.NotCarried, key, "it listens at %s, which is not taken: add it to the key, if what it takes shall be taken here", addr)
	case slices.Contains(have.List, addr):
		r.r.Note(at, migrate.NotCarried, key, "%s listens at %s too: what else this one does is not taken", first.path, addr)
	case !slices.Equal(st.rules(), main.rules()):
		r.r.Note(at, migrate.NotCarried, key, "it listens at %s with other rules, programs or variables than %s, and one listener has one set of them: add it to the key, if those of the latter shall hold there", addr, first.path)
	case slices.ContainsFunc(have.List, func(other string) bool { return clash(addr, other) }):
		r.r.Note(at, migrate.NotCarried, key, "it listens at %s, which the key's addresses have in them already", addr)
	default:
		r.r.Add(key, addr, st.path, st.line)
		r.r.Taken(migrate.At(st.path, st.line, st.rest[0].text+" "+st.rest[1].text), key)
	}
}

// clash reports whether two addresses of one port cannot both be listened at.
func clash(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	return portA == portB && (hostA == hostB || hostA == "" || hostB == "")
}

// quiet are programs that may stand before a server and of which nothing is left to tell: limits and uids are this
// server's own, and rblsmtpd's lists are taken.
var quiet = []string{"softlimit", "setuidgid", "envuidgid", "env", "nice", "ulimit", "chpst", "rblsmtpd", "qmail-smtpd", "qmail-popup", "qmail-qmtpd", "qmail-qmqpd"}

// instead says what does here what a program or variable of a run script did.
var instead = map[string]string{
	"recordio":    "dialogues are not written down all the time: `record` does so for a while",
	"QMAILQUEUE":  "the program is not run: name it in the key",
	"RELAYCLIENT": "clients of this service may not relay: let those who may log in, or name them in the client rules",
	"DATABYTES":   "name the size in the key",
}

// insteadKey are keys that do it.
var insteadKey = map[string]string{"QMAILQUEUE": "submit.filter", "DATABYTES": "policy.databytes"}

// wrapped tells of what a script has beside the server: programs around it, and variables that it reads.
func (r *reader) wrapped(st *started) {
	var told []string
	tell := func(line int, what, name, otherwise string) {
		if slices.Contains(told, name) {
			return
		}
		told = append(told, name)
		text, known := instead[name]
		if !known {
			text = otherwise
		}
		if text != "" {
			r.r.Note(migrate.At(st.path, line, what), migrate.NotCarried, insteadKey[name], "%s", text)
		}
	}
	for i, w := range st.rest {
		name := filepath.Base(w.text)
		if serverPorts[name] != nil {
			break
		}
		switch {
		case i < 2 || !w.plain || slices.Contains(quiet, name):
		case name == "fixcrio":
			if key := st.service + ".bare_newline"; strings.HasPrefix(key, "s") { // SMTP's and submission's
				r.r.Set(key, "normalise", st.path, st.line)
				r.r.Taken(migrate.At(st.path, st.line, w.text), key)
			}
		case i == 2:
			tell(st.line, w.text, name, "it is not run: see what it does for mail")
		default:
			tell(st.line, w.text, name, "")
		}
	}
	for _, v := range environment(st.text) {
		tell(v.line, v.text, v.name, "")
	}
}

// variable is one that a script sets for its server.
type variable struct {
	name, text string
	line       int
}

var assignment = regexp.MustCompile(`(?:^|[\s;&])((QMAILQUEUE|RELAYCLIENT|DATABYTES)=(?:"[^"]*"|'[^']*'|[^\s;&|]*))`)

// environment finds the variables that qmail-smtpd reads (qmail reference 4.1) and a script sets.
func environment(script string) (list []variable) {
	for i, line := range strings.Split(script, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, m := range assignment.FindAllStringSubmatch(line, -1) {
			list = append(list, variable{name: m[2], text: m[1], line: i + 1})
		}
	}
	return list
}
