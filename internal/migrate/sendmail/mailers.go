package sendmail

import (
	"path"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
)

// mailer is a line M of sendmail.cf with its continuations: a name and what follows by letters,
// P= its program, M= the largest message in bytes.
type mailer struct {
	line int
	text string
}

// value returns what stands behind a letter, such as "P".
func (m *mailer) value(letter string) string {
	for part := range strings.SplitSeq(m.text, ",") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(part), letter+"="); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// mailers takes what the definitions of mailers say that is the host's own: how users' mail is
// delivered, and limits. Names, flags and rulesets are built in.
func (r *reader) mailers(list []mailer, file string) {
	for i := range list {
		m := &list[i]
		name, _, _ := strings.Cut(m.text[1:], ",")
		name = strings.TrimSpace(name)
		if most := m.value("M"); most != "" {
			r.mailerLimit(name, most, file, m.line, "M"+name+": M="+most)
		}
		if program := m.value("P"); name == "local" && program != "" {
			r.localMailer(program, file, m.line, "Mlocal: P="+program)
		}
	}
}

// mailerLimit tells of the largest message of one mailer.
func (r *reader) mailerLimit(name, most, file string, line int, text string) {
	if name == "local" || name == "procmail" {
		r.r.Note(migrate.At(file, line, text), migrate.NotCarried, "policy.max_size", "sendmail bounces larger mail for users here; the key refuses it from the network, whoever it is for: write %q there if that is meant", most)
		return
	}
	r.r.Note(migrate.At(file, line, text), migrate.NotCarried, "", "one mailer's largest message has no equal: policy.max_size and policy.max_send_size are for all mail")
}

// localMailer takes the program that delivers users' mail.
func (r *reader) localMailer(program, file string, line int, text string) {
	const key = "local.default_delivery"
	switch path.Base(program) {
	case "procmail":
		r.r.Set(key, "procmail", file, line)
		r.r.Taken(migrate.At(file, line, text), key)
	case "maildrop":
		r.r.Set(key, "maildrop", file, line)
		r.r.Taken(migrate.At(file, line, text), key)
	case "mail.local", "lmail":
		r.r.Taken(migrate.At(file, line, text), key)
	default:
		r.r.Note(migrate.At(file, line, text), migrate.NotCarried, key, "users' mail goes into their mailboxes in /var/mail; a line such as |preline %s there has a program deliver it", program)
	}
}
