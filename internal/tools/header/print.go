package header

import (
	"bufio"
	"strings"

	"github.com/postilion/postilion/internal/qmail/mess822"
	"github.com/postilion/postilion/internal/tools/tool"
)

// style is how a character is printed: as nroff does on paper, by printing over.
type style byte

const (
	plain      style = '='
	underlined style = '_'
	bold       style = '+'
)

// char is one character of a line with its style.
type char struct {
	style style
	c     byte
}

// printer writes 822print's header: lines of 78 columns with a left and a right part.
type printer struct {
	out *bufio.Writer
	e   *tool.Env
}

// rule stands before and behind the recipients.
var rule = strings.Repeat("-", 78) + "\n"

// styled returns text in one style, what is not printable as \ooo in the other.
func styled(text string, ordinary, escaped style) []char {
	line := make([]char, 0, len(text))
	for i := range len(text) {
		c := text[i]
		if c == '\t' {
			c = ' '
		}
		if c >= 32 && c <= 126 {
			line = append(line, char{ordinary, c})
			continue
		}
		for _, x := range []byte{'\\', '0' + c>>6, '0' + c>>3&7, '0' + c&7} {
			line = append(line, char{escaped, x})
		}
	}
	return line
}

func label(text string) []char { return styled(text, plain, underlined) }

func (p *printer) put(line []char) {
	for _, c := range line {
		switch c.style {
		case underlined:
			p.out.WriteString("_\b")
		case bold:
			p.out.Write([]byte{c.c, '\b'})
		}
		p.out.WriteByte(c.c)
	}
}

// left prints a line alone, broken at 73 columns, at a blank where there is one.
func (p *printer) left(line []char) {
	const width = 73
	for len(line) > width {
		n := width
		for i := width - 1; i > 0; i-- {
			if line[i].c == ' ' {
				n = i
				break
			}
		}
		p.put(line[:n])
		p.out.WriteString("\n")
		line = line[n:]
	}
	p.put(line)
	p.out.WriteString("\n")
}

// both prints a left and a right part, on as many lines as they need.
func (p *printer) both(left, right []char) {
	const width, each = 76, 50
	row := func(i, j int) {
		p.put(left[:i])
		p.out.WriteString(strings.Repeat(" ", max(0, width+2-i-j)))
		p.put(right[:j])
		p.out.WriteString("\n")
	}
	for len(left)+len(right) > width {
		i, j := min(each, len(left)), min(each, len(right))
		j = min(j, width-i)
		row(i, j)
		left, right = left[i:], right[j:]
	}
	row(len(left), len(right))
}

// addresses prints an address list: names to the left, addresses to the right.
func (p *printer) addresses(fields []mess822.Field, before, after string, s style) {
	for _, f := range fields {
		list := mess822.Addresses(f.Value)
		for i, a := range list {
			if !a.IsAddress && i+1 < len(list) && list[i+1].IsAddress && list[i+1].Comment == "" {
				list[i+1].Comment = a.Comment // a name that a comma parted from its address
				continue
			}
			left := append(label(before), styled(a.Comment, underlined, plain)...)
			if !a.IsAddress {
				p.left(left)
				continue
			}
			p.both(left, append(label(after), styled(a.Addr, s, underlined)...))
		}
	}
}

// whole prints fields as they are, a line each.
func (p *printer) whole(fields []mess822.Field) {
	for _, f := range fields {
		for line := range strings.SplitSeq(strings.TrimSuffix(f.Raw, "\n"), "\n") {
			p.left(label(line))
		}
	}
}

// values joins the values of fields, a NUL between, which is printed as \000.
func values(fields []mess822.Field) string {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(0)
		}
		b.WriteString(f.Value)
	}
	return b.String()
}

var envelopeFields = []string{
	"received", "delivered-to", "errors-to", "resent-sender", "resent-from", "resent-reply-to",
	"resent-to", "resent-cc", "resent-bcc", "resent-date", "resent-message-id",
}

// header prints the fields in the order of interest: subject, author, date; where it came from;
// the recipients; replies; the rest.
func (p *printer) header(all []mess822.Field) {
	taken := map[int]bool{}
	named := func(names ...string) (list []mess822.Field) {
		for i, f := range all {
			for _, n := range names {
				if f.Name == n {
					taken[i] = true
					list = append(list, f)
				}
			}
		}
		return list
	}
	subject := styled(values(named("subject")), underlined, plain)
	p.both(label("Subject:"), subject)
	p.addresses(named("from"), "From: ", "", bold)
	p.date(named("date"))
	p.addresses(named("return-path"), "Return-Path: ", "return ", bold)
	p.whole(named(envelopeFields...))
	p.whole(named("in-reply-to"))
	p.addresses(named("references"), "Ref: ", "", underlined)
	p.addresses(named("message-id"), "Message-ID: ", "", underlined)
	p.out.WriteString(rule)
	p.addresses(named("to"), "To: ", "", bold)
	p.addresses(named("cc"), "Cc: ", "", bold)
	p.addresses(named("bcc", "apparently-to"), "Bcc: ", "", bold)
	p.addresses(named("notice-requested-upon-delivery-to"), "Notice-Requested-Upon-Delivery-To: ", "", bold)
	p.out.WriteString(rule)
	p.addresses(named("sender"), "Sender: ", "sender ", bold)
	p.addresses(named("reply-to"), "Reply-To: ", "reply to ", bold)
	p.addresses(named("mail-reply-to"), "Mail-Reply-To: ", "reply to ", bold)
	p.addresses(named("mail-followup-to"), "Mail-Followup-To: ", "follow up to ", bold)
	var rest []mess822.Field
	for i, f := range all {
		if !taken[i] {
			rest = append(rest, f)
		}
	}
	p.whole(rest)
}

// date prints the date as written, and to its right in local time.
func (p *printer) date(fields []mess822.Field) {
	left := append(label("Date:"), label(values(fields))...)
	w, ok := lastDate(fields, "date")
	if !ok {
		p.left(left)
		return
	}
	local := w.Time().In(p.e.Local()).Format("2006-01-02 15:04:05")
	p.both(left, styled(local, underlined, plain))
}
