package qmailhost

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
)

// tcpRules is where Life with qmail has the rules for SMTP clients.
const tcpRules = "/etc/tcp.smtp"

// manners are what a qmail does that this server does only when told.
var manners = []string{keySystemUsers, "runas.enabled", "smtp.bare_recipients", "smtp.helo_optional", "bounce.unmarked"}

// replies are the listeners whose words old monitoring and partner systems know as qmail-smtpd's.
var replies = []string{"smtp.replies", "submission.replies", "submissions.replies"}

// loads are the limits of the host's load; a qmail takes and delivers whatever the load.
var loads = []string{"process.queue_load", "floors.refuse_load"}

// users takes users/assign and alias.
func (r *reader) users() {
	dir := r.o.Dir
	for _, key := range manners {
		r.r.Set(key, "true", dir, 0)
	}
	for _, key := range loads {
		r.r.Set(key, "-1", dir, 0)
	}
	r.r.Set("submit.received", "qmail", dir, 0)
	r.r.Set("smtp.bare_newline", "defer", dir, 0)
	for _, key := range replies {
		r.r.Set(key, "qmail", dir, 0)
	}
	if dir != "/var/qmail" { // programs of .qmail files must find this qmail's own
		r.r.Set("local.program_path", filepath.Join(dir, "bin")+":/usr/local/bin:/usr/bin:/bin", dir, 0)
	}
	alias := filepath.Join(dir, "alias")
	if _, err := os.Stat(alias); err != nil {
		r.r.Note(migrate.At(alias, 0, "alias"), migrate.Differs, keyAliasHome, "missing: mail for names that no user has is refused for now")
	} else {
		r.r.Taken(migrate.At(alias, 0, "alias"), keyAliasHome)
	}
	r.r.Set(keyAliasHome, alias, alias, 0)
	folder := filepath.Join(dir, "users")
	r.r.Set(keyUsers, folder, folder, 0)
	assign, errAssign := os.Stat(filepath.Join(folder, "assign"))
	cdb, errCDB := os.Stat(filepath.Join(folder, "cdb"))
	switch {
	case errAssign != nil && errCDB != nil:
	case errCDB != nil:
		r.r.Note(migrate.At(filepath.Join(folder, "assign"), 0, "assign"), migrate.Differs, keyUsers, "there is no cdb, without which qmail reads none of it: run qmail-newu; here the text counts")
	case errAssign != nil:
		r.r.Taken(migrate.At(filepath.Join(folder, "cdb"), 0, "cdb"), keyUsers)
	case cdb.ModTime().Before(assign.ModTime()):
		r.r.Note(migrate.At(filepath.Join(folder, "assign"), 0, "assign"), migrate.Differs, keyUsers, "newer than cdb, which is what counts: run qmail-newu")
	default:
		r.r.Taken(migrate.At(filepath.Join(folder, "assign"), 0, "assign"), keyUsers)
	}
}

// defaultDelivery is settled by boot, which knows what the start script says of it.
func (r *reader) defaultDelivery(file) {}

// boot takes what rc and the services' run scripts say plainly.
func (r *reader) boot() {
	r.startScript()
	r.smtpdScript()
	r.otherListeners()
	r.qmtpScript()
	r.qmqpScript()
	r.beside()
}

// otherListeners turns on those of the other services that the qmail runs; those that it does not run stay
// off, since others may be using their ports.
func (r *reader) otherListeners() {
	for _, s := range []struct {
		key   string
		names []string
	}{
		{"submission", []string{"qmail-submission", "qmail-submissiond"}}, {"submissions", []string{"qmail-smtpsd", "qmail-smtps"}},
		{"pop3", []string{"qmail-pop3d", "pop3", "pop3d"}}, {"pop3s", []string{"qmail-pop3sd", "qmail-pop3d-ssl", "pop3s"}},
	} {
		key := s.key + ".listen"
		run, ok := r.run(s.key, s.names...)
		if !ok {
			r.r.SetList(key, nil, filepath.Join(r.o.Dir, "supervise"), 0)
			continue
		}
		path := run.path
		if s.key == "pop3" {
			r.r.Note(migrate.At(path, 0, run.name), migrate.Differs, key, "passwords without TLS are refused: have mail programs use STLS (also called STARTTLS) there, or pop3s")
		}
		words, line := command(run.text, "tcpserver")
		if line == 0 {
			words, line = command(run.text, "sslserver")
		}
		if line > 0 {
			rest := r.tcpserver(words[1:], s.key, path, line)
			r.passwords(rest, path, line)
			if r.listener(rest, key, path, line) {
				continue
			}
		}
		r.r.Note(migrate.At(path, line, run.name), migrate.Differs, key, "address and port are not plain: the usual port of all addresses is taken")
	}
}

// passwords tells which program checks them. checkpassword knows the system's users, as this server does; others
// know accounts of their own.
func (r *reader) passwords(words []word, path string, line int) {
	program := checker(words)
	if program == "" {
		return
	}
	if filepath.Base(program) == "checkpassword" {
		r.r.Taken(migrate.At(path, line, program), keySystemUsers)
		return
	}
	r.r.Note(migrate.At(path, line, program), migrate.NotCarried, "", "it is not asked: who logs in is a user of the system, or an account made with `domain add` and `account add`")
}

// checker finds the program that checks passwords: "qmail-popup HOST PROGRAM …", and where qmail-smtpd is patched to ask for
// them "qmail-smtpd [HOST] PROGRAM SUBPROGRAM". "" is none.
func checker(words []word) string {
	if n := len(words) - 1; n >= 0 && words[n].text == "2" { // of 2>&1
		words = words[:n]
	}
	at := -1
	for i, w := range words {
		left := len(words) - i - 1
		switch name := filepath.Base(w.text); {
		case name == "qmail-popup" && left >= 2, name == "qmail-smtpd" && left >= 3:
			at = i + 2
		case name == "qmail-smtpd" && left == 2:
			at = i + 1
		}
	}
	if at < 0 || !words[at].plain {
		return ""
	}
	return words[at].text
}

// listener takes the address and port that a server program is given.
func (r *reader) listener(words []word, key, path string, line int) bool {
	addr, ok := address(words)
	if ok {
		r.r.SetList(key, []string{addr}, path, line)
		r.r.Taken(migrate.At(path, line, words[0].text+" "+words[1].text), key)
	}
	return ok
}

// address reads the address and port that a server program is given. ok is false where they are not plain.
func address(words []word) (addr string, ok bool) {
	if len(words) < 2 || !words[0].plain || !words[1].plain {
		return "", false
	}
	host, port := words[0].text, words[1].text
	if host == "0" || host == "0.0.0.0" || host == ":0" {
		host = ""
	}
	if n, err := net.LookupPort("tcp", port); err == nil {
		port = strconv.Itoa(n)
	}
	n, err := strconv.Atoi(port)
	if _, bad := netip.ParseAddr(host); host != "" && bad != nil || err != nil || n < 1 || n > 65535 {
		return "", false
	}
	return net.JoinHostPort(host, port), true
}

// startScript finds what qmail-start is given: the default delivery and the logger.
func (r *reader) startScript() {
	f := r.open("defaultdelivery")
	text, from, at := "./Mailbox", f.path, 0 // qmail-start's own default (qmail reference 1.4)
	if f.has {
		text, at = strings.TrimRight(string(f.data), "\n"), 1
	}
	for _, path := range append([]string{filepath.Join(r.o.Dir, "rc"), filepath.Join(r.o.Dir, "supervise", "qmail-send", "run")}, r.paths()...) {
		script, ok := r.read(path)
		if !ok {
			continue
		}
		words, line := command(string(script), "qmail-start")
		if line == 0 || !r.own(words[0], "qmail-start") {
			continue
		}
		r.logger(words, path, line)
		switch {
		case len(words) < 2:
			text, from, at = "./Mailbox", path, line
		case words[1].plain:
			text, from, at = words[1].text, path, line
		case !strings.Contains(words[1].text, "defaultdelivery"):
			r.r.Note(migrate.At(path, line, words[1].text), migrate.NotCarried, keyDefaultDelivery, "the argument of qmail-start is not plain: set the key by hand")
		}
		break
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' || c == 0x7f }) {
		r.r.Note(migrate.At(from, at, text), migrate.NotCarried, keyDefaultDelivery, "want printable text")
		return
	}
	r.r.Set(keyDefaultDelivery, text, from, at)
	if at > 0 {
		r.r.Taken(migrate.At(from, at, text), keyDefaultDelivery)
	}
}

// logger takes where the log goes: to syslog by splogger, or on to multilog in qmail's lines.
func (r *reader) logger(words []word, path string, line int) {
	r.r.Set("log.format", "qmail", path, line)
	if len(words) > 2 && filepath.Base(words[2].text) == "splogger" {
		r.r.Set("log.to", "syslog", path, line)
		r.r.Taken(migrate.At(path, line, "splogger"), "log.to")
	}
}

// smtpdScript finds how tcpserver starts qmail-smtpd (qmail reference 22.1).
func (r *reader) smtpdScript() {
	run, ok := r.run("smtp", "qmail-smtpd")
	if !ok {
		return
	}
	path := run.path
	words, line := command(run.text, "tcpserver")
	if line == 0 {
		r.r.Note(migrate.At(path, 0, "run"), migrate.NotCarried, "smtp.listen", "tcpserver is not found in it")
		return
	}
	rest := r.tcpserver(words[1:], "smtp", path, line)
	r.rblsmtpd(rest, path, line)
	r.passwords(rest, path, line)
	if !r.listener(rest, "smtp.listen", path, line) {
		r.r.Note(migrate.At(path, line, "tcpserver"), migrate.NotCarried, "smtp.listen", "address and port are not plain: port 25 of all addresses is taken")
	}
}

// rblsmtpd takes the lists of the last rblsmtpd in a command (qmail reference 22.3).
func (r *reader) rblsmtpd(words []word, path string, line int) {
	for i := range words {
		if filepath.Base(words[i].text) != "rblsmtpd" {
			continue
		}
		for i++; i < len(words) && strings.HasPrefix(words[i].text, "-"); i++ {
			option, value := words[i].text, ""
			if len(option) > 2 {
				option, value = option[:2], option[2:]
			} else if strings.Contains("-r-a-t", option) && i+1 < len(words) {
				i++
				value = words[i].text
			}
			// The old way to ask for addresses' texts, list.example:text, is not of ours.
			value, _, _ = strings.Cut(value, ":")
			switch {
			case option == "-b":
				r.r.Set("dns_lists.permanent", "true", path, line)
			case option == "-c":
				r.r.Set("dns_lists.fail_closed", "true", path, line)
			case option == "-t":
			case (option == "-r" || option == "-a") && checkHost(value) == nil && strings.Contains(value, "."):
				entry := value
				if option == "-a" {
					entry += " allow"
				}
				r.r.Add(keyDNSLists, entry, path, line)
				r.r.Taken(migrate.At(path, line, option+" "+value), keyDNSLists)
			case option == "-r" || option == "-a":
				r.r.Note(migrate.At(path, line, option+" "+value), migrate.NotCarried, keyDNSLists, "want a list's name")
			}
		}
		return
	}
}

// option is an option of tcpserver with a value.
type option struct {
	letter byte
	value  word
}

// tcpserver takes tcpserver's options and returns what follows them.
func (r *reader) tcpserver(words []word, service, path string, line int) []word {
	options, rest := tcpserverOptions(words)
	for _, o := range options {
		r.tcpserverOption(o.letter, o.value, service, path, line)
	}
	return rest
}

// tcpserverOptions returns tcpserver's options that have values, and what follows them all.
func tcpserverOptions(words []word) (options []option, rest []word) {
	for len(words) > 0 {
		w := words[0].text
		if len(w) < 2 || w[0] != '-' {
			return options, words
		}
		words = words[1:]
		for i := 1; i < len(w); i++ {
			if !strings.ContainsRune("cxgubBlt", rune(w[i])) {
				continue
			}
			value := word{w[i+1:], true}
			if value.text == "" {
				if len(words) == 0 {
					return options, nil
				}
				value, words = words[0], words[1:]
			}
			options = append(options, option{w[i], value})
			break
		}
	}
	return options, nil
}

func (r *reader) tcpserverOption(option byte, value word, service, path string, line int) {
	if !value.plain {
		return // such as $QMAILDUID, which means nothing here, or what control files say
	}
	switch option {
	case 'c':
		if n, err := strconv.Atoi(value.text); err == nil && n > 0 {
			r.r.Set(service+".max_connections", value.text, path, line)
			r.r.Note(migrate.At(path, line, "-c "+value.text), migrate.Differs, service+".max_connections", "clients above it get a temporary answer instead of waiting unanswered")
		}
	case 'x':
		if filepath.IsAbs(value.text) {
			r.r.SetList(service+".access_rules", []string{r.host(value.text)}, path, line)
			r.r.Taken(migrate.At(path, line, "-x "+value.text), service+".access_rules")
		}
	}
}

// clientRules takes the rules for SMTP clients where Life with qmail has them.
func (r *reader) clientRules() {
	if _, set := r.r.Get(keyClientRules); set {
		return
	}
	text, cdb := r.host(tcpRules), r.host(tcpRules+".cdb")
	_, errText := os.Stat(text)
	_, errCDB := os.Stat(cdb)
	switch {
	case errCDB == nil:
		r.r.SetList(keyClientRules, []string{cdb}, cdb, 0)
		r.r.Taken(migrate.At(cdb, 0, filepath.Base(cdb)), keyClientRules)
	case errText == nil:
		r.r.SetList(keyClientRules, []string{text}, text, 0)
		r.r.Note(migrate.At(text, 0, filepath.Base(text)), migrate.Differs, keyClientRules, "there is no %s, without which tcpserver reads none of it; here the text counts", filepath.Base(cdb))
	}
}

// word is one word of a shell command. It is plain when the shell would leave it as it is.
type word struct {
	text  string
	plain bool
}

// command finds a program's first call in a script and returns its words with the line that it
// begins in; 0 when it is not called. It knows quotes and continued lines, nothing else of the
// shell, which is enough for scripts as they are handed down.
func command(script, program string) ([]word, int) {
	n := 0
	lines := strings.Split(script, "\n")
	for i, l := range lines {
		if t := strings.TrimSpace(l); strings.HasPrefix(t, "#") || !strings.Contains(t, program) {
			continue
		}
		words := shellWords(strings.Join(lines[i:], "\n"))
		at := slices.IndexFunc(words, func(w word) bool { return w.plain && filepath.Base(w.text) == program })
		if at >= 0 {
			return words[at:], i + 1
		}
		n++
	}
	return nil, 0
}

// shellWords splits a command into words, up to its end.
func shellWords(s string) (words []word) {
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t':
			i++
		case c == '\\' && strings.HasPrefix(s[i:], "\\\n"):
			i += 2
		case strings.IndexByte("\n;&|#<>", c) >= 0:
			return words
		default:
			w, n := shellWord(s[i:])
			words = append(words, w)
			i += n
		}
	}
	return words
}

// shellWord reads the word that s begins with and returns its length.
func shellWord(s string) (word, int) {
	var b strings.Builder
	plain, quote := true, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == '\'' && c != '\'':
			b.WriteByte(c)
		case c == '\'' && quote != '"' || c == '"' && quote != '\'':
			if quote == 0 {
				quote = c
			} else {
				quote = 0
			}
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] != '\n' {
				b.WriteByte(s[i])
			}
		case c == '`':
			// A command's output: everything up to the closing one belongs to the word.
			plain = false
			end := strings.IndexByte(s[i+1:], '`')
			if end < 0 {
				end = len(s) - i - 2
			}
			b.WriteString(s[i : i+end+2])
			i += end + 1
		case c == '$':
			plain = false
			b.WriteByte(c)
		case quote == 0 && strings.IndexByte(" \t\n;&|<>", c) >= 0:
			return word{b.String(), plain}, i
		default:
			b.WriteByte(c)
		}
	}
	return word{b.String(), plain}, len(s)
}
