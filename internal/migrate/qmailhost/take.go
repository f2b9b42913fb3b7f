package qmailhost

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/smtp"
)

// noLimit is the size that stands for none, where the key has no value for that.
const noLimit = "1TiB"

// line takes a line file; without it the default of qmail's, the name in control/me most often.
func line(key string) func(*reader, file) {
	return func(r *reader, f file) {
		value := control.Value(f.data)
		switch {
		case f.has && hostile(value):
			r.r.Note(migrate.At(f.path, 1, value), migrate.NotCarried, key, "want printable text")
		case f.has:
			r.r.Set(key, value, f.path, 1)
			r.r.Taken(migrate.At(f.path, 1, value), key)
		case f.FromMe && r.me != "":
			r.r.Set(key, r.me, f.path, 0)
		case f.Default != "" && !f.FromMe:
			r.r.Set(key, f.Default, f.path, 0)
		}
	}
}

// message takes a file of lines that bounces have in place of their apology. Lines that programs would take
// for something else are left out; so are blank ones, as paragraphs end there.
func message(key string) func(*reader, file) {
	return func(r *reader, f file) {
		if !f.has {
			return
		}
		var list []string
		for i, l := range strings.Split(strings.TrimRight(string(f.data), "\n"), "\n") {
			l = strings.TrimRight(l, " \t\r")
			switch {
			case strings.TrimSpace(l) == "":
			case hostile(l) || !utf8.ValidString(l) || l[0] == '<' || l[0] == '-' || len(l) > 900 || len(list) == 50:
				r.r.Note(migrate.At(f.path, i+1, l), migrate.NotCarried, key, "want up to 50 lines of UTF-8 text of at most 900 bytes, none that begins with < or -, after which programs look")
			default:
				list = append(list, l)
				r.r.Taken(migrate.At(f.path, i+1, l), key)
			}
		}
		if list != nil {
			r.r.SetList(key, list, f.path, 1)
		}
	}
}

// hostile reports whether a value holds what belongs into no protocol.
func hostile(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

// number returns the number of an integer file, or its default.
func (r *reader) number(f file) (n int64, line int, ok bool) {
	if n, ok = control.Int(f.data); f.has && ok {
		return n, 1, true
	}
	n, ok = control.Int([]byte(f.Default))
	return n, 0, ok
}

// seconds takes an integer file of seconds.
func seconds(keys ...string) func(*reader, file) {
	return func(r *reader, f file) {
		n, at, ok := r.number(f)
		if !ok {
			return
		}
		const most = 10 * 365 * 86400
		if n < 1 || n > most {
			r.r.Note(migrate.At(f.path, at, strconv.FormatInt(n, 10)), migrate.Differs, keys[0], "taken as %d seconds", min(max(n, 1), most))
			n = min(max(n, 1), most)
		} else if at > 0 {
			r.r.Taken(migrate.At(f.path, at, control.Value(f.data)), keys[0])
		}
		for _, key := range keys {
			r.r.Set(key, migrate.Seconds(n), f.path, at)
		}
	}
}

// optional takes a number where the file is there; ours holds otherwise.
func optional(keys ...string) func(*reader, file) {
	return func(r *reader, f file) {
		n, at, ok := r.number(f)
		if !ok || at == 0 || n == 0 {
			return
		}
		for _, key := range keys {
			r.r.Set(key, strconv.FormatInt(min(n, 1<<30), 10), f.path, at)
		}
		r.r.Taken(migrate.At(f.path, at, control.Value(f.data)), keys[0])
	}
}

// concurrency takes how much is delivered at once. Without the file ours holds, which is higher.
func concurrency(key string) func(*reader, file) {
	return func(r *reader, f file) {
		n, at, ok := r.number(f)
		switch {
		case !ok || at == 0:
		case n == 0:
			r.r.Set(key, "-1", f.path, at) // the channel is not served
			r.r.Taken(migrate.At(f.path, at, "0"), key)
		default:
			r.r.Set(key, strconv.FormatInt(min(n, 100_000), 10), f.path, at)
			if n > control.MaxConcurrency {
				r.r.Note(migrate.At(f.path, at, control.Value(f.data)), migrate.Differs, key, "qmail silently uses %d at most; here it is as written", control.MaxConcurrency)
				return
			}
			r.r.Taken(migrate.At(f.path, at, control.Value(f.data)), key)
		}
	}
}

func (r *reader) concurrencyIncoming(f file) {
	n, at, _ := r.number(f)
	if at == 0 || n == 0 {
		return
	}
	r.r.Set("smtp.max_connections", strconv.FormatInt(min(n, 1_000_000), 10), f.path, at)
	r.r.Note(migrate.At(f.path, at, control.Value(f.data)), migrate.Differs, "smtp.max_connections", "clients above it get 421 instead of waiting unanswered")
}

func (r *reader) takeMe(f file) {
	switch {
	case !f.has || r.me == "":
		r.r.Note(migrate.At(f.path, 0, "me"), migrate.NotCarried, "host", "missing or empty: qmail does not start without it")
	default:
		if _, err := names.Domain(r.me); err != nil {
			r.r.Note(migrate.At(f.path, 1, r.me), migrate.NotCarried, "host", "%s", err)
			r.me = "" // other files do without it: one error is enough
			return
		}
		r.r.Set("host", r.me, f.path, 1)
		r.r.Taken(migrate.At(f.path, 1, r.me), "host")
	}
}

func (r *reader) databytes(f file) {
	n, at, _ := r.number(f)
	r.r.Set("policy.max_send_size", noLimit, f.path, at) // qmail-queue has no limit for programs
	if n > 0 {
		r.r.Set("policy.databytes", strconv.FormatInt(min(n, 1<<50), 10), f.path, at)
		r.r.Taken(migrate.At(f.path, at, control.Value(f.data)), "policy.databytes")
		return
	}
	r.r.Set("policy.max_size", noLimit, f.path, at)
	if at > 0 {
		r.r.Note(migrate.At(f.path, at, control.Value(f.data)), migrate.Taken, "policy.max_size", "no limit")
	}
}

// smtpgreeting takes the text that the greeting begins with. Ours begins with the host's name as
// RFC 5321 4.2 wants it, so another name there is put behind it.
func (r *reader) smtpgreeting(f file) {
	value, at := control.Value(f.data), 1
	if !f.has {
		value, at = r.me, 0
	}
	rest, isMe := strings.CutPrefix(value, r.me)
	greeting := "ESMTP"
	if rest = strings.TrimSpace(rest); rest != "" {
		greeting = rest + " ESMTP"
	}
	if smtp.Text(greeting, 200) != greeting {
		r.r.Note(migrate.At(f.path, at, value), migrate.NotCarried, "smtp.greeting", "want at most 200 printable ASCII characters")
		return
	}
	r.r.Set("smtp.greeting", greeting, f.path, at)
	switch {
	case f.has && isMe:
		r.r.Taken(migrate.At(f.path, at, value), "smtp.greeting")
	case f.has:
		r.r.Note(migrate.At(f.path, at, value), migrate.Differs, "smtp.greeting", "the name of control/me stands before it, as RFC 5321 wants")
	}
}

func (r *reader) outgoingIP(f file) {
	if !f.has {
		return
	}
	a, err := netip.ParseAddr(control.Value(f.data))
	if err != nil {
		r.r.Note(migrate.At(f.path, 1, control.Value(f.data)), migrate.NotCarried, "remote.bind4", "want an IP address")
		return
	}
	key := "remote.bind4"
	if a.Is6() {
		key = "remote.bind6"
	}
	r.r.Set(key, a.String(), f.path, 1)
	r.r.Taken(migrate.At(f.path, 1, a.String()), key)
}

// serverCert takes the file that holds both certificate and key.
func (r *reader) serverCert(f file) {
	if !f.has {
		return
	}
	r.r.Set("tls.cert", f.path, f.path, 0)
	r.r.Set("tls.key", f.path, f.path, 0)
	r.r.Taken(migrate.At(f.path, 0, "servercert.pem"), "tls.cert")
}

// senders are the entries of badmailfrom and badrcptto that can match at all.
func (r *reader) addresses(f file, key string) {
	if !f.has {
		return
	}
	var list []string
	at := 0
	for _, e := range control.List(f.data) {
		a := mail.ParseAddress(e.Text)
		if a.Domain == "" || smtp.CheckDomain(a.Domain) != nil {
			r.r.Note(migrate.At(f.path, e.Line, e.Text), migrate.NotCarried, key, "want user@host or @host; as it stands it matches nobody in qmail either, patterns only in patched versions")
			continue
		}
		if at == 0 {
			at = e.Line
		}
		list = append(list, e.Text)
		r.r.Taken(migrate.At(f.path, e.Line, e.Text), key)
	}
	if list != nil {
		r.r.SetList(key, list, f.path, at)
	}
}

func (r *reader) badmailfrom(f file) {
	r.addresses(f, "policy.bad_senders")
	if f.has {
		// The verdict comes at RCPT (qmail reference 2.8, vector 1).
		r.r.Set("policy.refuse_senders_at", "rcpt", f.path, 0)
	}
}

func (r *reader) badrcptto(f file) { r.addresses(f, "policy.bad_recipients") }
