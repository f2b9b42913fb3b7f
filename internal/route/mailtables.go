package route

// Sendmail's tables as sources of addresses: virtusertable, and the lines of access that speak of
// recipients (qmail reference 25.8; cf/README of sendmail).

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/fs/reread"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/mailmap"
	"github.com/postilion/postilion/internal/reason"
)

// mailTables is the two files; nil is none, and so is a nil file.
type mailTables struct {
	virtUsers, recipients *reread.File[*mailmap.Map]
}

func newMailTables(o Options, d Deps) *mailTables {
	if o.VirtUserTable == "" && o.Access == "" {
		return nil
	}
	return &mailTables{mapFile(o.VirtUserTable, d.Now), mapFile(o.Access, d.Now)}
}

// mapFile watches a map. One that is missing is trouble: it was named, so addresses are in it.
func mapFile(path string, now func() time.Time) *reread.File[*mailmap.Map] {
	if path == "" {
		return nil
	}
	return &reread.File[*mailmap.Map]{Path: path, Now: now, Parse: func(data []byte) (*mailmap.Map, error) {
		return mailmap.Parse(path, data), nil
	}}
}

// access applies the lines of access about a recipient: the most specific one that refuses, discards or
// lets pass decides. Who may relay is policy's.
func (m *mailTables) access(rt *Route, a mail.Address, domain string) (done bool, err error) {
	if m == nil || m.recipients == nil {
		return false, nil
	}
	table, err := m.recipients.Get()
	if err != nil {
		return false, err
	}
	for key := range accessKeys(a.Local, domain) {
		for _, tag := range [...]string{"To:", ""} {
			e, ok, err := table.Lookup(tag + key)
			if err != nil {
				return false, err
			}
			if ok && !strings.EqualFold(e.Value, "SKIP") {
				return rt.byAccess(e)
			}
		}
	}
	return false, nil
}

// accessKeys yields what an address is looked up by: itself, its domain with the parents, its user.
func accessKeys(local, domain string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if !yield(local + "@" + domain) {
			return
		}
		for d := domain; d != ""; {
			if !yield(d) {
				return
			}
			_, d, _ = strings.Cut(d, ".")
		}
		yield(local + "@")
	}
}

// byAccess does what a line of access says.
func (rt *Route) byAccess(e mailmap.Entry) (done bool, err error) {
	what, where := "recipient "+rt.Final.String(), e.Place.String()
	word, text, _ := strings.Cut(e.Value, ":")
	switch {
	case strings.EqualFold(e.Value, "REJECT"):
		rt.step(what, where, "refused")
		*rt = rt.refuse(reason.RefusedByTable.With("Mailbox disabled for this recipient"))
		return true, nil
	case strings.EqualFold(e.Value, "DISCARD"):
		rt.step(what, where, "taken and dropped")
		rt.Kind = Discard
		return true, nil
	case strings.EqualFold(word, "ERROR"):
		return rt.byReply(e.Place, what, text)
	case e.Value[0] == '4' || e.Value[0] == '5':
		return rt.byReply(e.Place, what, e.Value)
	case strings.EqualFold(e.Value, "OK"), strings.EqualFold(e.Value, "RELAY"), strings.EqualFold(word, "QUARANTINE"):
		return false, nil
	}
	return false, &qmail.Fault{Place: e.Place, Text: fmt.Sprintf("%q: want OK, RELAY, REJECT, DISCARD, SKIP, ERROR:CODE TEXT or a reply CODE TEXT", e.Value)}
}

// byReply refuses with a reply as tables write it: "550 text", "5.7.1:550 text", "nouser text".
func (rt *Route) byReply(at qmail.Place, what, s string) (done bool, err error) {
	s = strings.Trim(strings.TrimSpace(s), `"`)
	enhanced := ""
	word, rest, _ := strings.Cut(s, ":")
	if strings.Count(word, ".") == 2 && strings.Trim(word, "0123456789.") == "" {
		enhanced, s = word, strings.TrimSpace(rest)
	}
	first, text, _ := strings.Cut(s, " ")
	code, ok := replies[strings.ToLower(first)]
	if n, err := strconv.Atoi(first); err == nil && n >= 400 && n <= 599 {
		code, ok = reply{n, ""}, true
	}
	if !ok {
		return false, &qmail.Fault{Place: at, Text: fmt.Sprintf("%q: want a reply such as 550 text, 5.7.1:550 text or nouser text", s)}
	}
	if text = strings.TrimSpace(text); text == "" {
		text = "no such address"
	}
	r := reason.RefusedByTable.With(text)
	if code.code < 500 {
		r = reason.DeferredByTable.With(text)
	}
	r.Code = code.code
	switch {
	case enhanced != "" && enhanced[0] == byte('0'+code.code/100):
		r.Enhanced = enhanced
	case code.enhanced != "":
		r.Enhanced = code.enhanced
	}
	rt.step(what, at.String(), "refused: "+text)
	*rt = rt.refuse(r)
	return true, nil
}

// reply is the codes of one of the names that sendmail's error mailer knows.
type reply struct {
	code     int
	enhanced string
}

var replies = map[string]reply{
	"nouser": {550, "5.1.1"}, "nohost": {550, "5.1.2"}, "unavailable": {550, "5.2.1"}, "usage": {501, "5.1.3"},
	"tempfail": {450, "4.2.1"}, "protocol": {554, "5.5.0"}, "config": {554, "5.3.5"},
}

// leads reports whether there is a virtusertable.
func (m *mailTables) leads() bool { return m != nil && m.virtUsers != nil }

// virtual applies virtusertable.
func (m *mailTables) virtual(rt *Route, a mail.Address, domain, deflt string) (done bool, err error) {
	if !m.leads() || a.Local == "" || a.Local[0] == '\\' { // what is marked was found here already
		return false, nil
	}
	table, err := m.virtUsers.Get()
	if err != nil {
		return false, err
	}
	user, detail, plus := strings.Cut(a.Local, "+")
	for _, key := range virtualKeys(a.Local, user, detail, plus) {
		e, ok, err := table.Lookup(key + "@" + domain)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		return rt.byVirtUser(e, a, domain, deflt, strings.NewReplacer("%1", user, "%2", detail, "%3", strings.TrimPrefix(a.Local, user)))
	}
	return false, nil
}

// virtualKeys are the local parts that an address is looked up by, in order.
func virtualKeys(local, user, detail string, plus bool) []string {
	if !plus {
		return []string{local, ""}
	}
	keys := []string{local}
	if detail != "" {
		keys = append(keys, user+"++")
	}
	keys = append(keys, user+"+*", user)
	if detail != "" {
		keys = append(keys, "++")
	}
	return append(keys, "+*", "")
}

func (rt *Route) byVirtUser(e mailmap.Entry, a mail.Address, domain, deflt string, marks *strings.Replacer) (done bool, err error) {
	what := "address " + a.Local + "@" + domain
	if text, ok := strings.CutPrefix(e.Value, "error:"); ok {
		rt.Local = true
		return rt.byReply(e.Place, what, text)
	}
	words := strings.FieldsFunc(e.Value, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' }) // Postfix has several, virtual(5)
	if strings.ContainsAny(e.Value, `|"<>`) || strings.HasPrefix(e.Value, ":") || len(words) == 0 || len(words) > maxAliasTargets {
		return false, &qmail.Fault{Place: e.Place, Text: fmt.Sprintf("%q: want addresses, or error:CODE TEXT", e.Value)}
	}
	var targets []mail.Address
	for _, w := range words {
		to := mail.ParseAddress(marks.Replace(w))
		to.Domain = cmp.Or(to.Domain, deflt)
		switch {
		case to.Local == "":
			return false, &qmail.Fault{Place: e.Place, Text: fmt.Sprintf("%q: want an address with a user", e.Value)}
		case !strings.EqualFold(to.Local, a.Local) || !strings.EqualFold(to.Domain, domain):
		case len(words) == 1:
			rt.step(what, e.Place.String(), "itself")
			return false, nil
		default:
			to.Local = `\` + to.Local // a copy for itself, which no table sends on again
		}
		targets = append(targets, to)
	}
	if goes := "goes on to "; len(targets) == 1 {
		rt.step(what, e.Place.String(), goes+targets[0].String())
	} else {
		rt.step(what, e.Place.String(), goes+strconv.Itoa(len(targets))+" addresses")
	}
	rt.Kind, rt.Local, rt.Targets = Forward, true, targets
	return true, nil
}
