package list

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/qmail/mess"
)

// Queue hands a message to the queue. What it took is on the disk; id is what the log knows
// it by. The error is an *Error.
type Queue func(ctx context.Context, from string, to []string, content io.Reader) (id string, err error)

// MaxHeader bounds the header of a message that a list looks at, in bytes.
const MaxHeader = 1 << 20

// Post is a message for the list's subscribers.
type Post struct {
	Content io.ReadSeeker // with LF line ends
	Sender  string        // of its envelope
	Shell   bool          // there is no envelope: the owner posts by hand

	KeepReceived bool   // send all Received fields on, not the first one alone
	ListField    string // a field that a sublist takes for its parent's Mailing-List; "" for none
	Queue        Queue
}

// ErrBounce refuses what has no sender that could be answered.
var errBounce = refuse("I do not reply to bounce messages (#5.7.2)")

// outgoing is a post on its way through the list.
type outgoing struct {
	*Post
	f        *Folder
	rules    postRules
	fields   []string // of the header, with their line ends
	body     int64    // where the body begins in Content
	number   uint64   // that subscribers see
	subject  subject
	from     string // of the first From field, unfolded
	received string // the date of the first Received field
	mime     mimeShape
}

// Send gives a post its number, archives it and queues it for all subscribers, from a sender that
// tells bounces apart by message and recipient (qmail reference 23.6). It holds the list's lock.
//
// The number is on the disk before the queue has the message, so that no two messages share one;
// a post that the queue refuses gives it back. Where the program dies between, a number is left
// out, and the post, which is delivered again, gets the next.
func (f *Folder) Send(ctx context.Context, p Post) (id string, err error) {
	lock, err := f.Lock(ctx, "lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	o := &outgoing{Post: &p, f: f}
	if err := o.read(); err != nil {
		return "", err
	}
	before, err := f.count()
	if err != nil {
		return "", err
	}
	o.number = before.messages + 1
	now := count{o.number, before.units}
	if o.rules.parent != "" && !f.Is("archived") {
		if n := numberOfSender(p.Sender); n > 0 {
			o.number = n // subscribers fetch it from the parent's archive
		}
	}
	size, err := o.copyTo(io.Discard, false)
	if err != nil {
		return "", err
	}
	now.units += (uint64(size) + 128) >> 8
	subscribers, err := o.recipients()
	if err != nil {
		return "", err
	}
	if err := o.archive(); err != nil {
		return "", err
	}
	if err := f.setCount(now); err != nil {
		return "", err
	}
	id, err = o.queue(ctx, subscribers)
	if err != nil {
		return "", errors.Join(err, f.setCount(before))
	}
	return id, nil
}

func (o *outgoing) recipients() ([]string, error) {
	t, err := o.f.Table("")
	if err != nil {
		return nil, err
	}
	return t.All()
}

// read reads the list's rules and the message's header, and refuses what no list sends on.
func (o *outgoing) read() error {
	if !o.Shell && (o.Sender == "" || o.Sender == "#@[]") {
		return errBounce
	}
	var err error
	if o.rules, err = o.f.postRules(); err != nil {
		return err
	}
	if o.rules.parent != "" && !o.Shell && !fromParent(o.Sender, o.rules.parent) {
		return refuse("this message is not from my parent list (#5.7.2)")
	}
	if o.fields, o.body, err = readHeader(o.Content); err != nil {
		return err
	}
	o.parseFields()
	return o.checkFields()
}

// readHeader reads a message's header, and tells where the body begins.
func readHeader(content io.ReadSeeker) (fields []string, body int64, err error) {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return nil, 0, unreadable(err)
	}
	r := bufio.NewReaderSize(content, 32<<10)
	fields, first, err := mess.ReadHeader(r, MaxHeader)
	if errors.Is(err, mess.ErrHeaderTooLong) {
		return nil, 0, refuse("the header is longer than %d bytes (#5.3.4)", MaxHeader)
	}
	if err != nil {
		return nil, 0, unreadable(err)
	}
	end, err := content.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, 0, unreadable(err)
	}
	body = end - int64(r.Buffered())
	if len(first) > 0 {
		n := len(first)
		if cut, err := cutShort(content, body); err != nil {
			return nil, 0, unreadable(err)
		} else if cut {
			n-- // a last line without a line end has got one
		}
		body -= int64(n)
	}
	return fields, body, nil
}

// cutShort reports whether the content ends at end, without a line end.
func cutShort(content io.ReadSeeker, end int64) (bool, error) {
	size, err := content.Seek(-1, io.SeekEnd)
	if err != nil {
		return false, err
	}
	var last [1]byte
	if _, err := io.ReadFull(content, last[:]); err != nil {
		return false, err
	}
	return size+1 == end && last[0] != '\n', nil
}

func unreadable(err error) *Error {
	return &Error{Text: "unable to read input: " + cause(err), Cause: err}
}

// fieldName returns a field's name in lower case, and its value.
func fieldName(field string) (name, value string) { return mess.Name(field) }

// parseFields takes from the header what the list goes by.
func (o *outgoing) parseFields() {
	subject := ""
	for _, field := range o.fields {
		switch name, value := fieldName(field); {
		case name == "subject":
			subject = value
		case name == "from" && o.from == "":
			o.from = value
		case name == "received" && o.received == "":
			if i := strings.LastIndexByte(value, ';'); i >= 0 {
				o.received = oneLine(value[i+1:])
			}
		case name == "content-type":
			o.mime.contentType = oneLine(value)
		case name == "content-transfer-encoding":
			o.mime.encoding = lowerASCII(oneLine(value))
		}
	}
	o.subject = parseSubject(subject, decodeWords(o.rules.prefix))
	o.mime.parse()
}

// checkFields refuses what has been through this list, or another one that is not its parent.
func (o *outgoing) checkFields() error {
	loop := "Delivered-To: mailing list " + o.f.Local + "@" + o.f.Host + "\n"
	listed := false
	for _, field := range o.fields {
		name, _ := fieldName(field)
		if field == loop {
			return refuse("this message is looping: it already has my Delivered-To line (#5.4.6)")
		}
		listed = listed || name == "mailing-list" || o.ListField != "" && name == lowerASCII(strings.TrimSuffix(o.ListField, ":"))
	}
	switch {
	case listed && o.rules.parent == "":
		return errListed
	case !listed && o.rules.parent != "":
		return refuse("sublist messages must have a Mailing-List header (#5.7.2)")
	}
	return nil
}

// indexEntry is the post's entry in the archive's index.
func (o *outgoing) indexEntry() IndexEntry {
	e := IndexEntry{
		Number: o.number, Thread: TextHash(o.subject.text), Subject: o.subject.text,
		Date: o.received, Author: AuthorHash(oneLine(o.from)), Name: authorName(o.from),
	}
	if o.subject.reply {
		e.Subject = "Re: " + e.Subject
	}
	return e
}

// archive stores the message as it came, and its entry in the index.
func (o *outgoing) archive() error {
	if !o.f.Is("archived") {
		return nil
	}
	name, dir := archived(o.number)
	if err := o.f.mkdir("archive"); err != nil {
		return err
	}
	if err := o.f.mkdir(dir); err != nil {
		return err
	}
	err := o.f.replace(name, name+"n", 0o744, func(w io.Writer) error {
		b := bufio.NewWriter(w)
		if _, err := o.copyTo(b, true); err != nil {
			return err
		}
		return b.Flush()
	})
	if err != nil || !o.f.Is("indexed") {
		return err
	}
	e := o.indexEntry()
	return o.f.addToIndex(&e)
}

// queue hands the message over while it is made.
func (o *outgoing) queue(ctx context.Context, subscribers []string) (string, error) {
	sender := o.f.Local + "-return-" + strconv.FormatUint(o.number, 10) + "-@" + o.f.Host + "-@[]"
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriterSize(w, 32<<10)
		_, err := o.copyTo(b, false)
		if err == nil {
			err = b.Flush()
		}
		w.CloseWithError(err)
	}()
	id, err := o.Queue(ctx, sender, subscribers, r)
	r.CloseWithError(io.ErrClosedPipe)
	return id, err
}

// fromParent reports whether a sender is the parent list's: joe-lst-return-4-@host for joe-lst@host.
func fromParent(sender, parent string) bool {
	i, j := strings.LastIndexByte(parent, '@'), strings.LastIndexByte(sender, '@')
	if i < 0 {
		return true
	}
	return j >= 0 && strings.HasPrefix(sender[:j], parent[:i]) && strings.EqualFold(sender[j:], parent[i:])
}

// numberOfSender returns the message's number out of a parent's VERP sender, 0 without.
func numberOfSender(sender string) uint64 {
	_, rest, _ := strings.Cut(sender, "-return-")
	number, _, ok := strings.Cut(rest, "-")
	n, err := strconv.ParseUint(number, 10, 63)
	if !ok || err != nil {
		return 0
	}
	return n
}
