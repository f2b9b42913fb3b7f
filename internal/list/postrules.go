package list

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/mail"
)

// This file changes a post's header and body as the list's settings ask (qmail reference 23.2, 23.6).

// postRules is what is done to each post.
type postRules struct {
	add         []string        // fields to add
	remove      map[string]bool // fields to leave out, or
	keep        bool            // to leave out all others
	types       map[string]bool // of MIME parts to leave out, or
	keepTypes   bool            // to leave out all others
	prefix      string          // of subjects; one "#" is the number
	sequence    string          // the name of a field that carries the number
	trailer     bool
	parent      string // the address of the list that this is a sublist of
	replyToList bool
	rewriteFrom bool
}

// defaultRemove is what lists leave out that do not say it (qmail reference 23.2).
var defaultRemove = []string{
	"return-path", "return-receipt-to", "content-length", "precedence", "x-confirm-reading-to", "x-pmrqc",
	"list-subscribe", "list-unsubscribe", "list-help", "list-post", "sender",
}

// defaultAdd is what they add.
const defaultAdd = "Sender: <<#l#>@<#h#>>\nPrecedence: bulk\nX-No-Archive: yes\nList-Post: <mailto:<#L#>@<#H#>>\n" +
	"List-Help: <mailto:<#l#>-help@<#h#>>\nList-Unsubscribe: <mailto:<#l#>-unsubscribe@<#h#>>\nList-Subscribe: <mailto:<#l#>-subscribe@<#h#>>"

func (f *Folder) postRules() (r postRules, err error) {
	read := func(to *string, name string) {
		if err == nil {
			*to, _, err = f.Line(name)
		}
	}
	read(&r.prefix, "prefix")
	read(&r.sequence, "sequence")
	read(&r.parent, "sublist")
	if err != nil {
		return r, err
	}
	var found bool
	if r.add, found, err = f.Lines("headeradd"); err != nil {
		return r, err
	} else if !found {
		text, _ := f.expand(defaultAdd, f.Local, nil, true)
		r.add = strings.Split(text, "\n")
	}
	for _, line := range r.add {
		if name, _, ok := strings.Cut(line, ":"); !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return r, broken("%s: %q is no header field", f.path("headeradd"), line)
		}
	}
	if r.remove, r.keep, err = f.set("headerkeep"); err != nil {
		return r, err
	}
	if !r.keep {
		if r.remove, found, err = f.set("headerremove"); err != nil {
			return r, err
		} else if !found {
			for _, name := range defaultRemove {
				r.remove[name] = true
			}
		}
	}
	if r.types, r.keepTypes, err = f.set("mimekeep"); err == nil && !r.keepTypes {
		r.types, _, err = f.set("mimeremove")
	}
	r.trailer, r.replyToList, r.rewriteFrom = f.Is("addtrailer"), f.Is("replytolist"), f.Is("rewritefrom")
	return r, err
}

// removes reports whether parts of a type are left out.
func (r *postRules) removes(contentType string) bool {
	return (len(r.types) > 0 || r.keepTypes) && r.types[contentType] != r.keepTypes
}

// leavesOut reports whether a field of that name is left out.
func (r *postRules) leavesOut(name string) bool { return r.remove[name] != r.keep }

// copyTo writes the post as subscribers get it, or as the archive keeps it: there without what
// the list adds. It returns the size of the body as it came.
func (o *outgoing) copyTo(w io.Writer, archive bool) (size int64, err error) {
	h := &headerWriter{w: w}
	if archive {
		sender := strings.ReplaceAll(mail.ParseAddress(o.Sender).Quoted(), "\n", "_")
		h.line("Return-Path: <" + sender + ">")
	} else {
		o.writeAdded(h)
	}
	h.line("Delivered-To: mailing list " + o.f.Local + "@" + o.f.Host)
	if o.rules.replyToList && !archive {
		h.line("Reply-To: <" + o.f.quoted(o.f.Local) + "@" + o.f.Host + ">")
	}
	o.writeFields(h, archive)
	h.line("")
	if h.err != nil {
		return 0, h.err
	}
	if _, err := o.Content.Seek(o.body, io.SeekStart); err != nil {
		return 0, unreadable(err)
	}
	b := &bodyCopier{o: o, w: w, r: bufio.NewReaderSize(o.Content, 32<<10), trailer: o.rules.trailer && !archive}
	return b.run()
}

// headerWriter writes fields and keeps the first error.
type headerWriter struct {
	w   io.Writer
	err error
}

func (h *headerWriter) line(text string) { h.raw(text + "\n") }

func (h *headerWriter) raw(text string) {
	if h.err == nil {
		_, h.err = io.WriteString(h.w, text)
	}
}

// writeAdded writes what the list puts before the message.
func (o *outgoing) writeAdded(h *headerWriter) {
	if o.rules.parent == "" {
		h.line("Mailing-List: " + o.f.MailingList())
		if o.f.ListID != "" {
			h.line("List-ID: " + o.f.ListID)
		}
	}
	for _, line := range o.rules.add {
		h.line(line)
	}
	if name := strings.TrimSuffix(o.rules.sequence, ":"); name != "" && !strings.ContainsAny(name, " \t:") {
		h.line(name + ": " + strconv.FormatUint(o.number, 10))
	}
}

// writeFields writes the message's own fields.
func (o *outgoing) writeFields(h *headerWriter, archive bool) {
	prefixed := !archive && o.rules.prefix != "" && o.rules.parent == ""
	received, hasSubject := false, false
	for _, field := range o.fields {
		name, value := fieldName(field)
		switch {
		case name == "received":
			if archive || o.KeepReceived || !received {
				h.raw(field)
			}
			received = true
		case name == "mbox-line", name == "list-id" && o.f.ListID != "" && o.rules.parent == "", name == "reply-to" && o.rules.replyToList:
		case o.rules.leavesOut(name):
		case name == "subject" && prefixed:
			hasSubject = true
			h.raw("Subject:" + o.prefix() + value)
		case name == "from" && o.rules.rewriteFrom && !archive:
			o.writeFrom(h, value)
		default:
			h.raw(field)
		}
	}
	if prefixed && !hasSubject {
		h.line("Subject:" + o.prefix())
	}
}

// prefix returns what goes before the subject: nothing where it is there already.
func (o *outgoing) prefix() string {
	if o.subject.prefixed {
		return ""
	}
	return " " + strings.Replace(o.rules.prefix, "#", strconv.FormatUint(o.number, 10), 1)
}

// writeFrom puts the list's address in place of the author's, whose host may forbid others to send
// in its name; the author's goes where answers find it.
func (o *outgoing) writeFrom(h *headerWriter, value string) {
	name := strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' || r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, authorName(value))
	h.line(`From: "` + name + " via " + o.f.Local + `" <` + o.f.quoted(o.f.Local) + "@" + o.f.Host + ">")
	if o.rules.replyToList {
		h.raw("Cc:" + value)
		return
	}
	h.raw("Reply-To:" + value)
}

// mimeShape is what a post's header says of its body.
type mimeShape struct {
	contentType string // the whole field, unfolded
	media       string // in lower case; "text/plain" without a field
	boundary    string // of a multipart, with the two dashes; "" otherwise
	encoding    string
}

func (m *mimeShape) parse() {
	m.media = mediaType(m.contentType)
	if m.media == "" {
		m.media = "text/plain"
	}
	if strings.HasPrefix(m.media, "multipart/") {
		if b := parameter(m.contentType, "boundary"); b != "" && len(b) <= 200 {
			m.boundary = "--" + b
		}
	}
}

// mediaType returns the type/subtype of a Content-Type value, in lower case.
func mediaType(value string) string {
	media, _, _ := strings.Cut(value, ";")
	return lowerASCII(strings.Trim(strings.TrimSpace(media), `"`))
}

// parameter returns one parameter of a Content-Type value.
func parameter(value, name string) string {
	for {
		i := strings.IndexByte(value, ';')
		if i < 0 {
			return ""
		}
		value = strings.TrimLeft(value[i+1:], " \t")
		if len(value) > len(name) && strings.EqualFold(value[:len(name)], name) && value[len(name)] == '=' {
			text := value[len(name)+1:]
			if rest, ok := strings.CutPrefix(text, `"`); ok {
				text, _, _ = strings.Cut(rest, `"`)
				return text
			}
			if i := strings.IndexAny(text, "; \t"); i >= 0 {
				text = text[:i]
			}
			return text
		}
	}
}

// bodyCopier copies a body without the parts that the list does not want, and with its trailer.
type bodyCopier struct {
	o       *outgoing
	w       io.Writer
	r       *bufio.Reader
	trailer bool
	size    int64
}

// errNothingLeft refuses a message of unwanted parts alone.
var errNothingLeft = refuse("Sorry, after removing unacceptable MIME parts from your message I was left with nothing (#5.7.0)")

func (b *bodyCopier) run() (int64, error) {
	m := &b.o.mime
	var err error
	if m.boundary != "" && (len(b.o.rules.types) > 0 || b.o.rules.keepTypes || b.trailer) {
		err = b.parts()
	} else if err = b.rest(); err == nil && b.trailer && m.media == "text/plain" && m.encoding != "base64" {
		err = b.writeTrailer("\n")
	}
	return b.size, err
}

// rest copies what is left.
func (b *bodyCopier) rest() error {
	n, err := io.Copy(b.w, b.r)
	b.size += n
	return err
}

func (b *bodyCopier) writeTrailer(before string) error {
	text, err := b.o.f.Text("trailer", &Tags{Number: strconv.FormatUint(b.o.number, 10)})
	if err != nil {
		return err
	}
	_, err = io.WriteString(b.w, before+text)
	return err
}

// maxPartHeader bounds the header of a part that is looked at before it is sent on.
const maxPartHeader = 64 << 10

// parts copies a multipart.
func (b *bodyCopier) parts() error {
	m := &b.o.mime
	copying, seen, kept := true, false, false
	atStart := true
	for {
		line, err := b.r.ReadSlice('\n')
		b.size += int64(len(line))
		switch {
		case len(line) == 0 && err == io.EOF:
			if seen && !kept {
				return errNothingLeft
			}
			return nil
		case err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull):
			return unreadable(err)
		}
		isBoundary := atStart && strings.HasPrefix(string(line[:min(len(line), len(m.boundary))]), m.boundary)
		atStart = err == nil
		switch {
		case isBoundary && strings.HasPrefix(string(line[len(m.boundary):]), "--"):
			copying = true
			if err := b.close(kept, line); err != nil {
				return err
			}
			continue
		case isBoundary:
			head, keep, err := b.partHeader(append([]byte(nil), line...))
			if err != nil {
				return err
			}
			copying, seen, kept = keep, true, kept || keep
			line = head
		}
		if copying {
			if _, err := b.w.Write(line); err != nil {
				return err
			}
		}
	}
}

// close ends the multipart, with the trailer as its last part where its kind allows one.
func (b *bodyCopier) close(kept bool, line []byte) error {
	m := &b.o.mime
	last := append([]byte(nil), line...)
	if b.trailer && kept && (m.media == "multipart/mixed" || m.media == "multipart/digest" || m.media == "multipart/parallel") {
		if err := b.writeTrailer("\n" + m.boundary + "\nContent-Type: text/plain; charset=" + b.o.f.Charset + "\n\n"); err != nil {
			return err
		}
	}
	_, err := b.w.Write(last)
	return err
}

// partHeader reads a part's header behind its boundary, and tells whether the list wants the part.
// One with a header beyond all bounds it does not.
func (b *bodyCopier) partHeader(head []byte) (whole []byte, keep bool, err error) {
	field, contentType := "", ""
	end := func() {
		if name, value := fieldName(field); name == "content-type" && contentType == "" {
			contentType = mediaType(oneLine(value))
		}
	}
	for len(head) < maxPartHeader {
		line, err := b.r.ReadSlice('\n')
		b.size += int64(len(line))
		head = append(head, line...)
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, false, unreadable(err)
		}
		text := string(line)
		switch {
		case strings.Trim(text, "\r\n") == "":
			end()
			if contentType == "" {
				contentType = "text/plain"
			}
			return head, !b.o.rules.removes(contentType), nil
		case text[0] == ' ' || text[0] == '\t':
			field += text
		default:
			end()
			field = text
		}
	}
	return head, false, nil
}
