// Package mime reads messages: header fields, addresses, encoded words, and the tree
// of MIME parts (RFC 5322, 2045, 2046, 2047, 2231, 6532). It reads what the world sends, not only
// what the standards allow, stores no body, and every input ends in a tree: limits turn
// what is too deep or too much into leaves.
package mime

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"strconv"
	"strings"
)

// Limits bound what Parse builds. Zero values mean the defaults.
type Limits struct {
	Depth       int // nested parts; 0 means 100
	Parts       int // parts in all; 0 means 10,000
	HeaderBytes int // bytes of headers kept in all; 0 means 4 MiB
	FieldBytes  int // bytes kept of one field; 0 means 256 KiB
}

func (l Limits) withDefaults() Limits {
	l.Depth = cmp.Or(l.Depth, 100)
	l.Parts = cmp.Or(l.Parts, 10_000)
	l.HeaderBytes = cmp.Or(l.HeaderBytes, 4<<20)
	l.FieldBytes = cmp.Or(l.FieldBytes, 256<<10)
	return l
}

// Field is a header field as it came: the name, and the value with its folds and without
// its last line end.
type Field struct {
	Name, Value string
}

// Header is the fields of a header in order.
type Header []Field

// Get returns the value of the first field of that name, unfolded, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return Unfold(f.Value)
		}
	}
	return ""
}

// All returns the unfolded values of the fields of that name.
func (h Header) All(name string) (values []string) {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			values = append(values, Unfold(f.Value))
		}
	}
	return values
}

// Unfold removes the line ends of folds (RFC 5322 2.2.3), and the blanks around the
// value; those that a folded line begins with stay, even where the first line is empty.
func Unfold(value string) string {
	value = strings.TrimLeft(value, " \t")
	if strings.ContainsAny(value, "\r\n") {
		value = strings.NewReplacer("\r\n", "", "\n", "", "\r", "").Replace(value)
	}
	return strings.TrimRight(value, " \t")
}

// Span is a piece of the message. Wire counts bytes as if every line ended in CRLF,
// which is how IMAP and POP3 count.
type Span struct {
	Offset, Size, WireSize int64
	Lines                  int64 // line ends in it
}

// Part is a message or one part of it.
type Part struct {
	Header      Header
	Type        string // "text", lower case
	Subtype     string // "plain"
	Params      []Param
	HasType     bool   // a Content-Type field was there and could be read
	Encoding    string // a token in lower case; "" where it is missing or no token, which means 7bit
	Disposition string // lower case; "" without
	DispParams  []Param

	Head Span // header with the empty line behind it
	Body Span

	Parts   []*Part // of a multipart
	Message *Part   // of a message/rfc822 or message/global
	// Cut is set when a limit kept the part from being read further.
	Cut bool
}

// IsMultipart reports whether the part was read as a multipart. It may have no parts.
func (q *Part) IsMultipart() bool {
	return q.Type == "multipart" && param(q.Params, "boundary") != "" && (!q.Cut || len(q.Parts) > 0)
}

// Parse reads a message with LF or CRLF line ends to its end. The error is r's.
func Parse(r io.Reader, limits Limits) (*Part, error) {
	p := &parser{r: bufio.NewReaderSize(r, 64<<10), limits: limits.withDefaults()}
	p.next()
	root := p.part(0, false)
	if p.err != nil && p.err != io.EOF {
		return nil, p.err
	}
	return root, nil
}

// at is a place in the message.
type at struct{ off, wire, lines int64 }

func (a at) span(from at) Span {
	return Span{from.off, a.off - from.off, a.wire - from.wire, a.lines - from.lines}
}

type parser struct {
	r      *bufio.Reader
	limits Limits
	err    error

	line  []byte // the current piece of a line, with its line end; empty at the end
	start bool   // it begins a line
	pos   at     // where it begins
	// cut is where the line end before pos begins: a part's body ends there when a
	// boundary follows.
	cut at

	boundaries []string // of the open multiparts, outermost first
	parts      int
	kept       int // bytes of headers
}

// next moves to the next piece of a line.
func (p *parser) next() {
	p.pos, p.cut = p.after()
	p.start = len(p.line) == 0 && p.pos.off == 0 || endsLine(p.line)
	p.line, p.err = p.r.ReadSlice('\n')
	if p.err == bufio.ErrBufferFull || len(p.line) > 0 && p.err == io.EOF {
		p.err = nil
	}
	if p.err != nil {
		p.line = nil
	}
}

func endsLine(line []byte) bool { return len(line) > 0 && line[len(line)-1] == '\n' }

// after returns the places behind the current piece and before its line end.
func (p *parser) after() (end, cut at) {
	n := int64(len(p.line))
	end = at{p.pos.off + n, p.pos.wire + n, p.pos.lines}
	cut = end
	if !endsLine(p.line) {
		return end, cut
	}
	cut.off, cut.wire = cut.off-1, cut.wire-1
	if bytes.HasSuffix(p.line, []byte("\r\n")) {
		cut.off, cut.wire = cut.off-1, cut.wire-1
	} else {
		end.wire++
	}
	end.lines++
	return end, cut
}

func (p *parser) atEnd() bool { return len(p.line) == 0 }

// boundary tells which open multipart the current line delimits: its index, or -1, and
// whether it closes it. The longest that fits wins, since one may begin with another; of
// equals the innermost.
func (p *parser) boundary() (index int, closes bool) {
	index = -1
	if !p.start || !bytes.HasPrefix(p.line, []byte("--")) || len(p.boundaries) == 0 {
		return index, false
	}
	rest := p.line[2:]
	for i, b := range p.boundaries {
		if len(rest) >= len(b) && string(rest[:len(b)]) == b && (index < 0 || len(b) >= len(p.boundaries[index])) {
			index = i
		}
	}
	if index >= 0 {
		closes = bytes.HasPrefix(rest[len(p.boundaries[index]):], []byte("--"))
	}
	return index, closes
}

// part reads one part from its header on, up to a boundary line or the end.
func (p *parser) part(depth int, digest bool) *Part {
	p.parts++
	q := &Part{}
	from := p.pos
	p.header(q)
	q.Head = p.pos.span(from)
	q.readType(digest)
	body := p.pos
	switch boundary := param(q.Params, "boundary"); {
	case depth >= p.limits.Depth || p.parts >= p.limits.Parts:
		q.Cut = q.Type == "multipart" || q.isMessage()
		p.skip()
	case q.Type == "multipart" && boundary != "":
		p.multipart(q, boundary, depth)
	case q.isMessage() && (q.Encoding == "" || isIdentity(q.Encoding)):
		q.Message = p.part(depth+1, false)
		q.Body = p.bodyEnd(body).span(body)
		return q
	default:
		p.skip()
	}
	q.Body = p.bodyEnd(body).span(body)
	return q
}

func (q *Part) isMessage() bool {
	return q.Type == "message" && (q.Subtype == "rfc822" || q.Subtype == "global")
}

// bodyEnd is where a body ends that began at from: before the line end in front of a
// boundary line, or at the end of the message.
func (p *parser) bodyEnd(from at) at {
	if p.atEnd() {
		return p.pos
	}
	if p.cut.off < from.off {
		return from
	}
	return at{p.cut.off, p.cut.wire, p.cut.lines}
}

// skip passes over everything up to a boundary line of any open multipart.
func (p *parser) skip() {
	for !p.atEnd() {
		if i, _ := p.boundary(); i >= 0 {
			return
		}
		p.next()
	}
}

// multipart reads preamble, parts and epilogue.
func (p *parser) multipart(q *Part, boundary string, depth int) {
	mine := len(p.boundaries)
	p.boundaries = append(p.boundaries, boundary)
	defer func() { p.boundaries = p.boundaries[:mine] }()
	p.skip()
	for !p.atEnd() {
		i, closes := p.boundary()
		if i < mine {
			return // an outer part goes on: this one was never closed
		}
		p.endLine()
		if closes {
			p.boundaries = p.boundaries[:mine]
			p.skip() // the epilogue
			return
		}
		q.Parts = append(q.Parts, p.part(depth+1, q.Subtype == "digest"))
		if p.parts >= p.limits.Parts {
			q.Cut = true
			p.boundaries = p.boundaries[:mine]
			p.skip()
			return
		}
	}
}

// endLine moves behind the current line.
func (p *parser) endLine() {
	for !p.atEnd() {
		whole := endsLine(p.line)
		p.next()
		if whole {
			return
		}
	}
}

// header reads fields up to and with the empty line. A line that can be no field ends
// the header as if an empty line stood before it, unless it is the first and an mbox From_ line.
func (p *parser) header(q *Part) {
	var field []byte
	flush := func() {
		if field != nil {
			q.addField(field)
			field = nil
		}
	}
	defer flush()
	for !p.atEnd() {
		if i, _ := p.boundary(); i >= 0 {
			return
		}
		if p.start && isBlank(p.line) {
			p.next()
			return
		}
		switch {
		case !p.start || p.line[0] == ' ' || p.line[0] == '\t':
		default:
			flush()
			field = []byte{}
		}
		room := min(p.limits.FieldBytes-len(field), p.limits.HeaderBytes-p.kept)
		if field != nil && room > 0 {
			piece := p.line[:min(len(p.line), room)]
			field = append(field, piece...)
			p.kept += len(piece)
		}
		p.next()
	}
}

func isBlank(line []byte) bool { return string(line) == "\n" || string(line) == "\r\n" }

func (q *Part) addField(raw []byte) {
	name, value, ok := strings.Cut(string(raw), ":")
	if !ok {
		return // such as an mbox From_ line
	}
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	q.Header = append(q.Header, Field{strings.TrimRight(name, " \t"), value})
}

func isIdentity(encoding string) bool {
	return encoding == "7bit" || encoding == "8bit" || encoding == "binary"
}

// readType fills what the Content fields say.
func (q *Part) readType(digest bool) {
	q.Type, q.Subtype = "text", "plain"
	if digest {
		q.Type, q.Subtype = "message", "rfc822"
	}
	if v := q.Header.Get("Content-Type"); v != "" {
		if t, s, params, ok := parseType(v); ok {
			q.Type, q.Subtype, q.Params, q.HasType = t, s, params, true
		}
	}
	s := scanner{s: q.Header.Get("Content-Transfer-Encoding")}
	s.skipCFWS()
	encoding := strings.ToLower(s.token())
	if s.skipCFWS(); s.end() {
		q.Encoding = encoding
	}
	if v := q.Header.Get("Content-Disposition"); v != "" {
		s := scanner{s: v}
		s.skipCFWS()
		q.Disposition = strings.ToLower(s.token())
		q.DispParams = s.params()
	}
}

// Walk calls f for the part and all below it, depth first, with each one's IMAP
// part number ("" for the message itself).
func (q *Part) Walk(f func(number string, p *Part)) { q.walk("", f) }

func (q *Part) walk(number string, f func(string, *Part)) {
	f(number, q)
	inner := q
	if q.Message != nil {
		inner = q.Message
		if !inner.IsMultipart() {
			f(join(number, "1"), inner)
			return
		}
	}
	for i, c := range inner.Parts {
		c.walk(join(number, strconv.Itoa(i+1)), f)
	}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "." + b
}
