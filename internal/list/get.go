package list

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what the archive answers at once (qmail reference 23.8).
const (
	mostMessages = 100
	newest       = 30 // messages, where no number is given
	mostEntries  = 2000
	threadReach  = 2000 // messages before and after the one whose thread is asked for
)

// Archive answers requests for what a list has sent: LOCAL-get.12_45, -index.12, -thread.12.
type Archive struct {
	List    *Folder
	Sender  string
	Action  string // what follows LOCAL-
	Content io.ReadSeeker
	Request bool // take no notice of modgetonly and subgetonly: the owner asks
	PID     int
	Queue   Queue
}

// asked is a request, read.
type asked struct {
	word     string // get, index, thread
	format   byte   // r, m, x, v or n
	from, to uint64 // 0 where not given
	target   string
}

// formats are the forms in which messages are sent: as text (RFC 1153), as multipart/digest, as
// multipart/mixed, with all their fields, and so without regard to threads.
const formats = "rmxvn"

// parseGet reads an action: get, get12, get.12, get-12_45, getr.12; ok is false for what is no
// request for the archive. An address behind it does not matter.
func parseGet(action string) (a asked, ok bool) {
	verb := lowerASCII(action)
	for _, word := range []string{"get", "index", "thread"} {
		rest, found := strings.CutPrefix(verb, word)
		if !found {
			continue
		}
		a = asked{word: word, format: 'm'}
		if rest != "" && strings.IndexByte(formats, rest[0]) >= 0 {
			a.format, rest = rest[0], rest[1:]
		}
		if a.from, rest, found = leadingNumber(rest); found {
			a.to, rest, _ = leadingNumber(rest)
		}
		return a, rest == "" || rest[0] == '-'
	}
	return a, false
}

// leadingNumber reads "12", ".12", "_12", "-12".
func leadingNumber(s string) (n uint64, rest string, found bool) {
	t := strings.TrimLeft(s, "._-")
	digits := len(t) - len(strings.TrimLeft(t, "0123456789"))
	if digits == 0 || digits > 18 {
		return 0, s, false
	}
	n, err := strconv.ParseUint(t[:digits], 10, 63)
	return n, t[digits:], err == nil
}

var (
	errNotArchived = refuse("Sorry, this list is not archived (#5.1.1)")
	errNotIndexed  = refuse("Sorry, this list is not indexed (#5.1.1)")
	errNoMessages  = refuse("no messages in archive")
	errReaders     = refuse("Sorry, only subscribers may read this archive (#5.7.1)")
)

// Answer answers; handled is false for what another program is to answer.
func (a *Archive) Answer(ctx context.Context) (id string, handled bool, err error) {
	q, ok := parseGet(a.Action)
	if !ok {
		return "", false, nil
	}
	if err := CheckRequester(a.Sender); err != nil {
		return "", true, err
	}
	if err := a.permit(); err != nil {
		return "", true, err
	}
	fields, _, err := readHeader(a.Content)
	if err != nil {
		return "", true, err
	}
	last, err := a.List.Messages()
	if err != nil {
		return "", true, err
	}
	if last == 0 {
		return "", true, errNoMessages
	}
	// What is sent may be long: it goes to who asks, whatever address is named.
	q.target = a.Sender
	l, err := a.begin(fields, &q)
	if err != nil {
		return "", true, err
	}
	switch q.word {
	case "index":
		err = a.index(l, &q, last)
	case "thread":
		err = a.thread(l, &q, last)
	default:
		var digested digested
		if digested, err = a.List.digested(); err == nil {
			err = a.messages(l, &q, q.numbers(last, digested.messages))
		}
	}
	if err != nil {
		return "", true, err
	}
	if l.stop != nil {
		defer l.stop()
	}
	id, err = a.Queue(ctx, a.List.returnSender(), []string{q.target}, l.message())
	return id, true, err
}

// permit checks whether the sender may read the archive.
func (a *Archive) permit() error {
	f := a.List
	if !f.Is("archived") {
		return errNotArchived
	}
	if a.Request {
		return nil
	}
	var tables []string
	err := errNotPublic
	switch {
	case f.Is("modgetonly"):
		tables, err = []string{"mod"}, errModerators
	case f.Is("subgetonly"):
		tables, err = readerTables(), errReaders
	case f.Is("public"):
		return nil
	case f.Is("remote"):
		tables = []string{"mod"}
	}
	if found, terr := f.listed(a.Sender, tables); found || terr != nil {
		return terr
	}
	return err
}

// readerTables are those whose addresses may read the archive with subgetonly.
func readerTables() []string { return []string{".", "digest", "allow", "mod"} }

// listed reports whether an address is in one of the tables.
func (f *Folder) listed(address string, tables []string) (bool, error) {
	for _, name := range tables {
		t, err := f.Table(name)
		if err != nil {
			return false, err
		}
		if found, err := t.FindSender(address); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// begin writes the answer's header.
func (a *Archive) begin(fields []string, q *asked) (*letter, error) {
	f := a.List
	l := f.newLetter()
	l.field("List-Help", "<mailto:"+f.quoted(f.Local)+"-help@"+f.Host+">")
	l.dated(a.PID, 0)
	l.field("From", f.address(f.Local, "-help"))
	l.field("To", quotedAddress(q.target))
	responder := "Delivered-To: responder for " + f.Local + "@" + f.Host + "\n"
	l.head.WriteString(responder)
	for _, field := range fields {
		switch name, _ := fieldName(field); {
		case name == "mailing-list":
			return nil, errListed
		case field == responder:
			return nil, errLoop
		case name == "delivered-to", name == "received":
			l.head.WriteString(field)
		}
	}
	subject := f.Local + " Result of: " + q.describe()
	writeField(&l.late, "Subject", subject)
	return l, nil
}

// describe is the command as it was understood.
func (q *asked) describe() string {
	s := q.word
	if q.from > 0 {
		s += "." + strconv.FormatUint(q.from, 10)
	}
	if q.to > 0 {
		s += "_" + strconv.FormatUint(q.to, 10)
	}
	return s
}

// numbers returns the messages that a get asks for: without a number those since the last digest, or
// the newest.
func (q *asked) numbers(last, digested uint64) (numbers []uint64) {
	from, to := q.from, q.to
	switch {
	case from == 0 && digested > 0 && digested < last:
		from, to = digested+1, last
	case from == 0 || from > last:
		to = last
		from = last - min(last, newest) + 1
	case to == 0:
		to = from
	case to < from:
		from, to = to, from
	}
	from = max(from, 1)
	to = min(to, last, from+mostMessages-1)
	for n := from; n <= to; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

// index writes the subjects of messages.
func (a *Archive) index(l *letter, q *asked, last uint64) error {
	f := a.List
	if !f.Is("indexed") {
		return errNotIndexed
	}
	if err := a.say(l, "top", last); err != nil {
		return err
	}
	to := min(max(q.to, q.from), last)
	if q.from == 0 || q.from > last {
		to = last
	}
	from := min(q.from, to)
	if q.from == 0 || q.from > last {
		from = to
	}
	from = from / 100 * 100
	to = min(to/100*100+99, last, from+mostEntries-1)
	for n := from; n <= to; n += 100 {
		entries, err := f.Index(n)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Number <= last {
				fmt.Fprintf(&l.text, "%d: %s\n\t%s %s\n", e.Number, e.Subject, e.Date, e.Name)
			}
		}
	}
	return nil
}

func (a *Archive) say(l *letter, name string, number uint64) error {
	text, err := a.List.Text(name, &Tags{Number: strconv.FormatUint(number, 10)})
	l.text.WriteString(text)
	return err
}

// thread sends the messages that share a message's subject.
func (a *Archive) thread(l *letter, q *asked, last uint64) error {
	f := a.List
	if !f.Is("indexed") {
		return errNotIndexed
	}
	n := q.from
	if n == 0 || n > last {
		n = last
	}
	entries, err := f.Index(n)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(e IndexEntry) bool { return e.Number == n })
	if i < 0 {
		return refuse("Sorry, I can't find the index for this message")
	}
	thread := entries[i].Thread
	first := max(1, n-min(n, threadReach))
	var numbers []uint64
	for at := first / 100 * 100; at <= min(last, n+threadReach) && len(numbers) < mostMessages; at += 100 {
		entries, err := f.Index(at)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Thread == thread && e.Number <= last && len(numbers) < mostMessages {
				numbers = append(numbers, e.Number)
			}
		}
	}
	return a.messages(l, q, numbers)
}

// messages encloses messages.
func (a *Archive) messages(l *letter, q *asked, numbers []uint64) error {
	f := a.List
	if err := a.say(l, "top", numbers[0]); err != nil {
		return err
	}
	if err := a.say(l, "digest", numbers[0]); err != nil {
		return err
	}
	fmt.Fprintf(&l.text, "Topics (messages %d through %d)\n\n", numbers[0], numbers[len(numbers)-1])
	for _, n := range numbers {
		entries, err := f.Index(n)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(entries, func(e IndexEntry) bool { return e.Number == n }); i >= 0 {
			fmt.Fprintf(&l.text, "%s\n\t%d by: %s\n", entries[i].Subject, n, entries[i].Name)
		}
	}
	w := &messageWriter{f: f, format: q.format, keep: digestFields}
	if own, found, err := f.set("digheaders"); err != nil {
		return err
	} else if found {
		w.keep = own
	}
	r, pw := io.Pipe()
	boundary := TextHash(l.id + l.head.String() + "digest")
	go func() {
		b := bufio.NewWriterSize(pw, 32<<10)
		err := w.all(b, numbers, boundary)
		if err == nil {
			err = b.Flush()
		}
		pw.CloseWithError(err)
	}()
	l.stop = func() { r.CloseWithError(io.ErrClosedPipe) }
	l.attached, l.attachedType = r, map[byte]string{
		'r': "text/plain", 'x': "multipart/mixed; boundary=" + boundary,
	}[q.format]
	if l.attachedType == "" {
		l.attachedType = "multipart/digest; boundary=" + boundary
	}
	return nil
}

// digestFields are the fields with which messages of the archive are sent.
var digestFields = map[string]bool{
	"from": true, "to": true, "cc": true, "subject": true, "date": true, "message-id": true, "in-reply-to": true, "references": true,
	"reply-to": true, "mime-version": true, "content-type": true, "content-transfer-encoding": true, "keywords": true, "summary": true,
}

// messageWriter writes messages of the archive one behind the other.
type messageWriter struct {
	f      *Folder
	format byte
	keep   map[string]bool
}

func (w *messageWriter) all(out *bufio.Writer, numbers []uint64, boundary string) error {
	for _, n := range numbers {
		m, found, err := w.f.Message(n)
		if err != nil {
			return err
		}
		switch w.format {
		case 'r':
			out.WriteString("\n" + strings.Repeat("-", 30) + "\n\n")
		case 'x':
			out.WriteString("\n--" + boundary + "\nContent-Type: message/rfc822\n\n")
		default:
			out.WriteString("\n--" + boundary + "\n\n")
		}
		if !found {
			out.WriteString("Subject: message " + strconv.FormatUint(n, 10) + "\n\n" + texts["get-bad"])
			continue
		}
		err = w.one(out, m)
		m.Close()
		if err != nil {
			return err
		}
	}
	if w.format != 'r' {
		out.WriteString("\n--" + boundary + "--\n")
	}
	return nil
}

// one writes one message with the fields that are wanted.
func (w *messageWriter) one(out *bufio.Writer, in io.ReadSeeker) error {
	fields, body, err := readHeader(in)
	if err != nil {
		return err
	}
	for _, field := range fields {
		if name, _ := fieldName(field); w.keep[name] || w.format == 'v' || w.format == 'n' {
			out.WriteString(field)
		}
	}
	out.WriteString("\n")
	if _, err := in.Seek(body, io.SeekStart); err != nil {
		return unreadable(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		return unreadable(err)
	}
	return nil
}
