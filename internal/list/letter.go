package list

import (
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/qmail"
)

// letter is a message that the list itself writes: a header, a text, and what it is about enclosed.
type letter struct {
	f      *Folder
	head   strings.Builder
	late   strings.Builder // fields that go behind Content-Type
	text   strings.Builder
	closed strings.Builder // what is enclosed
	id     string
	// attached is a whole message to be enclosed as a part of its own, read when the letter is; nil
	// without. attachedType is its Content-Type, message/rfc822 unless set.
	attached     io.Reader
	attachedType string
	stop         func() // ends what writes attached; nil where nothing does
}

// newLetter begins a letter as all of the list's do. ezmlm's programs know each other's by the
// first field, and do not answer.
func (f *Folder) newLetter() *letter {
	l := &letter{f: f}
	l.field("Mailing-List", f.MailingList())
	if f.ListID != "" {
		l.field("List-ID", f.ListID)
	}
	return l
}

// field adds a field. Values are the list's own, or checked addresses; that no line end gets in is
// made sure of here once more.
func (l *letter) field(name, value string) { writeField(&l.head, name, value) }

func writeField(b *strings.Builder, name, value string) {
	b.WriteString(name + ": ")
	for i := range len(value) {
		c := value[i]
		if c < ' ' && c != '\t' || c == 0x7f {
			c = '_'
		}
		b.WriteByte(c)
	}
	b.WriteByte('\n')
}

// dated adds Date and Message-ID; n tells apart the letters of one run, the first being 0.
func (l *letter) dated(pid, n int) {
	now := l.f.Now()
	l.field("Date", string(qmail.AppendDate(nil, now)))
	l.id = strconv.FormatInt(now.Unix(), 10) + "." + strconv.Itoa(pid)
	if n > 0 {
		l.id += "." + strconv.Itoa(n)
	}
	l.field("Message-ID", "<"+l.id+".ezmlm@"+l.f.Host+">")
}

// address returns local+suffix@host, as a header writes it.
func (f *Folder) address(local, suffix string) string {
	return mail.Address{Local: local + suffix, Domain: f.Host}.Quoted()
}

// quotedAddress returns an address as a header writes it.
func quotedAddress(address string) string { return mail.ParseAddress(address).Quoted() }

// message returns the letter's bytes.
func (l *letter) message() io.Reader {
	charset, text := l.f.Charset, l.text.String()
	eightBit := strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 })
	if eightBit && charset == "us-ascii" {
		charset = "utf-8"
	}
	plain := "text/plain; charset=" + charset
	encoding := map[byte]string{'Q': "quoted-printable", 'B': "base64"}[l.f.Encoding]
	if encoding == "" && eightBit {
		encoding = "8bit"
	}
	l.field("MIME-Version", "1.0")
	if l.f.Encoding == 0 && l.attached == nil {
		l.field("Content-Type", plain)
		if encoding != "" {
			l.field("Content-Transfer-Encoding", encoding)
		}
		return strings.NewReader(l.head.String() + l.late.String() + "\n" + text + l.closed.String())
	}
	boundary := TextHash(l.id + l.head.String())
	l.field("Content-Type", "multipart/mixed; boundary="+boundary)
	var b strings.Builder
	b.WriteString(l.head.String() + l.late.String() + "\n--" + boundary + "\nContent-Type: " + plain + "\n")
	if encoding != "" {
		b.WriteString("Content-Transfer-Encoding: " + encoding + "\n")
	}
	b.WriteString("\n" + encoded(text, l.f.Encoding))
	enclosed := l.attached
	if enclosed == nil {
		enclosed = strings.NewReader(l.closed.String())
	}
	switch {
	case l.attachedType != "":
		b.WriteString("\n--" + boundary + "\nContent-Type: " + l.attachedType + "\n\n")
	case l.attached != nil || l.closed.Len() > 0:
		b.WriteString("\n--" + boundary + "\nContent-Type: message/rfc822\nContent-Disposition: inline; filename=request.msg\n\n")
	}
	return io.MultiReader(strings.NewReader(b.String()), enclosed, strings.NewReader("\n--"+boundary+"--\n"))
}

// encoded returns a text in an encoding of MIME, in lines.
func encoded(text string, encoding byte) string {
	var b strings.Builder
	if encoding == 0 {
		return text
	}
	if encoding == 'Q' {
		w := quotedprintable.NewWriter(&b)
		w.Write([]byte(text)) // a Builder takes everything
		w.Close()
		return strings.ReplaceAll(b.String(), "\r\n", "\n")
	}
	for out := base64.StdEncoding.EncodeToString([]byte(text)); out != ""; {
		n := min(76, len(out))
		b.WriteString(out[:n] + "\n")
		out = out[n:]
	}
	return b.String()
}

// maxEnclosed bounds what a letter encloses, in bytes.
const maxEnclosed = 64 << 10

// enclose puts a message's header, or its beginning, into the letter, below who it came from.
func (l *letter) enclose(sender string, fields []string) {
	l.closed.WriteString("Return-Path: <" + strings.ReplaceAll(quotedAddress(sender), "\n", "_") + ">\n")
	for _, field := range fields {
		if l.closed.Len()+len(field) > maxEnclosed {
			break
		}
		l.closed.WriteString(field)
	}
}

// returnSender is the sender of letters whose bounces nobody wants: they are dropped.
func (f *Folder) returnSender() string { return f.Local + "-return-@" + f.Host }
