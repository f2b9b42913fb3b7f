package injection

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/inject"
	"github.com/postilion/postilion/internal/qmail"
	"github.com/postilion/postilion/internal/qmail/control"
	"github.com/postilion/postilion/internal/tools/tool"
)

// Waiting is a message of the queue, as the server tells it.
type Waiting struct {
	ID         string    `json:"id"`
	From       string    `json:"from"`
	Accepted   time.Time `json:"accepted"`
	Size       int64     `json:"size"`
	Priority   int       `json:"priority"`
	Group      string    `json:"group"`
	Held       bool      `json:"held"`
	QueueOnly  bool      `json:"queue_only"`
	Recipients []Awaited `json:"recipients"`
	More       int       `json:"more"` // recipients that are not told
}

// Awaited is one recipient of it.
type Awaited struct {
	To       string `json:"to"`
	State    string `json:"state"`
	Attempts int    `json:"attempts"`
	Status   string `json:"status"` // RFC 3463
	Error    string `json:"error"`
	Host     string `json:"host"`        // the next hop of the last attempt; "" for mail that stays here
	Dest     string `json:"destination"` // "" where nothing is scheduled: it is finished, or was not looked at yet
	Delayed  bool   `json:"delayed"`
}

// finished reports whether nothing of the recipient waits any more.
func (r *Awaited) finished() bool { return r.State == "done" || r.State == "delivered" }

// channel tells whether a recipient is local or remote, as qmail-send has two channels. What was finished has no
// destination any more, but a next hop leaves its name, or the status of having found none.
func (r *Awaited) channel(here func(address string) bool) string {
	local := false
	switch {
	case r.Dest != "":
		local = r.Dest == "mailbox" || r.Dest == "forward" || strings.HasPrefix(r.Dest, "user")
	case r.Host != "":
	case here(r.To):
		local = true
	case r.State == "failed":
		_, detail, _ := strings.Cut(r.Status, ".")
		local = !slices.Contains([]string{"1.2", "1.10", "4.1", "4.2", "4.4"}, detail) // RFC 3463 3.2, 3.5: names and networks
	default:
		local = r.finished()
	}
	if local {
		return "local"
	}
	return "remote"
}

// Queue asks the server for the queue and calls visit for each message, oldest first. The answer tells
// whether the user may see it.
func Queue(ctx context.Context, e *tool.Env, visit func(*Waiting)) (inject.Answer, error) {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		d := json.NewDecoder(bufio.NewReaderSize(r, 64<<10))
		for {
			var m Waiting
			if err := d.Decode(&m); err != nil {
				r.CloseWithError(err)
				if err == io.EOF {
					err = nil
				}
				done <- err
				return
			}
			visit(&m)
		}
	}()
	a, err := client(e).Ask(ctx, inject.VerbQueue, "", w)
	w.Close()
	if derr := <-done; err == nil {
		err = derr
	}
	return a, err
}

// chooser is -qI, -qR and -qS: substrings of id, recipient and sender, and -qG: a queue group. "!" before
// the letter negates. Of several of one letter one is enough, of each letter there must be one (sendmail(8)).
type chooser struct{ rules []rule }

type rule struct {
	what byte
	not  bool
	text string
}

// add takes what stands behind -q; false is for one that is not known.
func (c *chooser) add(s string) bool {
	r := rule{}
	if s[0] == '!' {
		r.not, s = true, s[1:]
	}
	if s == "" || strings.IndexByte("GIRS", s[0]) < 0 {
		return false
	}
	r.what, r.text = s[0], s[1:]
	if r.what == 'R' || r.what == 'S' {
		r.text = strings.ToLower(r.text) // of ids alone the case counts
	}
	c.rules = append(c.rules, r)
	return true
}

func (c *chooser) any() bool { return len(c.rules) > 0 }

// chosen reports whether the rules take a message.
func (c *chooser) chosen(m *Waiting) bool {
	for _, what := range []byte("GIRS") {
		asked, taken := false, false
		for _, r := range c.rules {
			if r.what == what {
				asked, taken = true, taken || r.finds(m) != r.not
			}
		}
		if asked && !taken {
			return false
		}
	}
	return true
}

// finds looks for the text, without "!".
func (r *rule) finds(m *Waiting) bool {
	switch r.what {
	case 'G':
		return r.text == cmp.Or(m.Group, "default")
	case 'I':
		return strings.Contains(m.ID, r.text)
	case 'S':
		return strings.Contains(strings.ToLower(m.From), r.text)
	}
	return slices.ContainsFunc(m.Recipients, func(a Awaited) bool {
		return !a.finished() && strings.Contains(strings.ToLower(a.To), r.text)
	})
}

// mailq is mailq: qmail-qread's form on a qmail host, else sendmail's.
func mailq(ctx context.Context, e *tool.Env) int {
	m := &mailer{e: e, mode: 'p'}
	args := make([]string, 0, len(e.Args))
	form := ""
	for _, a := range e.Args[1:] {
		if a == "--qmail" || a == "--sendmail" {
			form = a
			continue
		}
		args = append(args, a)
	}
	if problem := m.parse(args); problem != "" {
		return e.Fatal(exUsage, problem)
	}
	if form == "" && !m.verbose && !m.choose.any() {
		if _, err := os.Stat(e.QmailHome() + "/control/me"); err == nil {
			form = "--qmail"
		}
	}
	if form == "--qmail" {
		return Qread(ctx, e)
	}
	return m.list(ctx)
}

// list is sendmail -bp (qmail reference 25.1): a part for each queue group.
func (m *mailer) list(ctx context.Context) int {
	groups := map[string]*strings.Builder{}
	counts := map[string]int{}
	var order []string
	a, err := Queue(ctx, m.e, func(w *Waiting) {
		if !m.choose.chosen(w) {
			return
		}
		b := groups[w.Group]
		if b == nil {
			b = new(strings.Builder)
			groups[w.Group] = b
			order = append(order, w.Group)
		}
		counts[w.Group]++
		m.entry(b, w)
	})
	switch {
	case err != nil:
		return m.e.Fatal(exTemporary, err)
	case a.Permanent():
		fmt.Fprintf(m.e.Errs(), "%d %s\n", a.Code, tool.Printable(a.Text))
		return exPermission
	case !a.OK():
		return m.e.Fatal(exTemporary, a.Text)
	}
	out := bufio.NewWriter(m.e.Out())
	defer out.Flush()
	if len(order) == 0 {
		out.WriteString("the queue is empty\n\t\tTotal requests: 0\n")
		return tool.OK
	}
	total := 0
	for _, g := range order {
		n := counts[g]
		total += n
		name := cmp.Or(g, "default")
		plural := "s"
		if n == 1 {
			plural = ""
		}
		fmt.Fprintf(out, "\t\t%s (%d request%s)\n", tool.Printable(name), n, plural)
		if m.verbose {
			out.WriteString("-----Q-ID----- --Size-- -Priority- ---Q-Time--- --------Sender/Recipient--------\n")
		} else {
			out.WriteString("-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n")
		}
		out.WriteString(groups[g].String())
	}
	fmt.Fprintf(out, "\t\tTotal requests: %d\n", total)
	return tool.OK
}

// entry writes one message. Our ids are longer than sendmail's column, which they keep to themselves.
func (m *mailer) entry(b *strings.Builder, w *Waiting) {
	flag := " "
	switch {
	case w.Held:
		flag = "?"
	case w.QueueOnly:
		flag = "X"
	}
	for i := range w.Recipients {
		if w.Recipients[i].State == "running" {
			flag = "*"
		}
	}
	at := w.Accepted.In(m.e.Local())
	if m.verbose {
		delayed := " "
		for i := range w.Recipients {
			if w.Recipients[i].Delayed {
				delayed = "+"
			}
		}
		fmt.Fprintf(b, "%13s%s%8d %10d%s%s %s\n", w.ID, flag, w.Size, w.Priority, delayed, at.Format("Jan _2 15:04"), clip(w.From, 78))
	} else {
		fmt.Fprintf(b, "%13s%s%8d %s %s\n", w.ID, flag, w.Size, at.Format("Mon Jan _2 15:04"), clip(w.From, 39))
	}
	last := ""
	for i := range w.Recipients {
		r := &w.Recipients[i]
		if r.finished() {
			continue
		}
		status := ""
		if r.Error != "" {
			status = "(Deferred: " + clip(r.Error, 60-len("(Deferred: )")) + ")"
		}
		if !m.verbose && status != "" && status != last {
			fmt.Fprintf(b, "%4s%10s   %s\n", "", "", status)
			last = status
		}
		if m.verbose {
			fmt.Fprintf(b, "\t\t\t\t\t %s\n", clip(r.To, 78))
			if status != "" {
				fmt.Fprintf(b, "\t\t %s\n", status)
			}
			continue
		}
		fmt.Fprintf(b, "\t\t\t\t\t %s\n", clip(r.To, 38))
	}
	if w.More > 0 {
		fmt.Fprintf(b, "\t\t\t\t\t (and %d more)\n", w.More)
	}
}

// clip makes a text fit for one line of at most most bytes.
func clip(s string, most int) string {
	s = tool.Printable(strings.ReplaceAll(s, "\n", " "))
	return s[:min(len(s), most)]
}

// localByControl tells by control/locals and virtualdomains whether mail for an address stays on this
// host. It is for recipients that no delivery has looked at yet, as while deliveries are held.
func localByControl(e *tool.Env) func(address string) bool {
	stays := map[string]bool{}
	read := func(name string) bool {
		data, err := tool.ReadAtMost(e.QmailHome()+"/control/"+name, maxList)
		for _, line := range control.List(data) {
			domain, user, virtual := strings.Cut(strings.ToLower(line.Text), ":")
			stays[domain] = stays[domain] || !virtual || user != ""
		}
		return err == nil
	}
	if !read("locals") {
		read("me")
	}
	read("virtualdomains")
	return func(address string) bool {
		at := strings.LastIndexByte(address, '@')
		domain := strings.ToLower(address[at+1:])
		if s, listed := stays[strings.ToLower(address)]; at < 0 || listed {
			return at < 0 || s
		}
		for i := 0; i < len(domain); { // the domain, then what is below a ".suffix" of it
			if s, listed := stays[domain[i:]]; listed {
				return s
			}
			next := strings.IndexByte(domain[i+1:], '.')
			if next < 0 {
				break
			}
			i += 1 + next
		}
		return stays[""] // ":user" takes all the others
	}
}

// maxList bounds control/locals and virtualdomains, in bytes.
const maxList = 16 << 20

// Qread is qmail-qread (qmail reference 13.1).
func Qread(ctx context.Context, e *tool.Env) int {
	out := bufio.NewWriter(e.Out())
	defer out.Flush()
	here := localByControl(e)
	a, err := Queue(ctx, e, func(w *Waiting) {
		number, ok := qmail.MessageNumber(w.ID)
		if !ok {
			return
		}
		b := w.Accepted.UTC().AppendFormat(nil, "2 Jan 2006 15:04:05 GMT")
		b = fmt.Appendf(b, "  #%d  %d  <%s> ", number, w.Size, listed(w.From))
		for i := range w.Recipients {
			if w.Recipients[i].State == "failed" {
				b = append(b, " bouncing"...)
				break
			}
		}
		b = append(b, '\n')
		for i := range w.Recipients {
			r := &w.Recipients[i]
			done := ""
			if r.State != "waiting" && r.State != "running" {
				done = "  done"
			}
			b = fmt.Appendf(b, "%s\t%s\t%s\n", done, r.channel(here), listed(r.To))
		}
		if w.More > 0 {
			b = fmt.Appendf(b, "\t\t(and %d more)\n", w.More)
		}
		out.Write(b)
	})
	switch {
	case err != nil:
		return e.Fatal(tool.Temporary, err)
	case a.Permanent():
		return e.Fatal(tool.Permanent, a.Text)
	case !a.OK():
		return e.Fatal(tool.Temporary, a.Text)
	}
	return tool.OK
}

// listed returns an address as qmail-qread lists it: bytes that are not printable ASCII as "_".
func listed(address string) []byte {
	b := []byte(address)
	for i, c := range b {
		if c < 32 || c > 126 {
			b[i] = '_'
		}
	}
	return b
}
