// Package sevenbit turns 8-bit messages into 7-bit ones for servers that take nothing else
// (RFC 6152 3): leaf parts with 8-bit text become quoted-printable, others base64, and
// nothing else is touched. What a reader sees after decoding is the same bytes.
//
// Header fields with 8-bit text, as Korean and Japanese programs write them without encoded words, go as they
// came: nobody says in which characters they are, and servers of 7-bit mail pass them on.
//
// A message is walked twice, first to see which parts need it, then to write it;
// neither walk holds more than a line and a few bytes a part. Lines end with LF.
package sevenbit

import (
	"encoding/base64"
	"errors"
	"io"

	"github.com/postilion/postilion/internal/mail"
)

// Why a message cannot be converted.
var (
	errCoded = errors.New("a part that claims to be encoded holds 8-bit characters")
	errFixed = errors.New("an 8-bit part is of a type that must not be encoded")
)

// action is what happens to a part.
type action uint8

const (
	asIs    action = iota
	relabel        // the Content-Transfer-Encoding is dropped, the body is 7bit already
	toQuoted
	toBase64
	repair // quoted-printable with stray 8-bit bytes, which are encoded in place
)

// Plan is what a first walk found out about a message.
type Plan struct {
	// EightHeader is set when a header holds bytes above 127. They stay.
	EightHeader bool
	// Refuse tells why the message cannot be converted; nil when it can.
	Refuse error

	actions []action
	version []bool // MIME-Version is to be added
	ctype   []bool // Content-Type is to be added
}

// Scan walks a message. The error is the reader's.
func Scan(r io.Reader) (*Plan, error) {
	p := new(Plan)
	w := newWalker(r)
	var eight []bool // by part: its body has bytes above 127
	for {
		pc, err := w.next()
		switch {
		case err == io.EOF:
			p.decide(w.parts, eight)
			return p, nil
		case isWalk(err):
			p.Refuse = err
			p.EightHeader = p.EightHeader || pc.kind == field && mail.HasEight(pc.bytes)
			return p, nil
		case err != nil:
			return nil, err
		case !mail.HasEight(pc.bytes):
		case pc.kind == field:
			p.EightHeader = true
		case pc.kind == body:
			for len(eight) <= pc.part {
				eight = append(eight, false)
			}
			eight[pc.part] = true
		}
	}
}

func isWalk(err error) bool {
	return err != nil && (err == errParts || err == errNesting || err == errValue || err == errType)
}

// decide chooses each part's action.
func (p *Plan) decide(parts []part, eight []bool) {
	p.actions, p.version, p.ctype = make([]action, len(parts)), make([]bool, len(parts)), make([]bool, len(parts))
	changed := false
	for i, pt := range parts {
		var why error
		p.actions[i], why = choose(pt, i < len(eight) && eight[i])
		if why != nil && p.Refuse == nil {
			p.Refuse = why
		}
		encoded := p.actions[i] == toQuoted || p.actions[i] == toBase64
		changed = changed || encoded
		p.version[i] = encoded && pt.root && !pt.hasVersion
		// RFC 1428 3: of a message that is no MIME nobody knows the characters.
		p.ctype[i] = encoded && pt.root && !pt.hasType
	}
	if len(parts) > 0 && !parts[0].hasVersion {
		p.version[0] = changed
	}
}

func choose(pt part, eight bool) (action, error) {
	raw := pt.encoding <= binary
	switch {
	case pt.content == multipart || pt.content == message:
		if pt.encoding == eightBit || pt.encoding == binary {
			return relabel, nil
		}
		return asIs, nil
	case !eight && pt.encoding != binary:
		if pt.encoding == eightBit {
			return relabel, nil
		}
		return asIs, nil
	case pt.content == fixed:
		return asIs, errFixed
	case pt.encoding == quoted:
		return repair, nil
	case !raw:
		return asIs, errCoded
	case pt.content == text:
		return toQuoted, nil
	}
	return toBase64, nil
}

// Convert writes the message that was scanned, read again from its start. The error is the
// reader's or the writer's, or tells that the message cannot be converted.
func (p *Plan) Convert(w io.Writer, r io.Reader) error {
	if p.Refuse != nil {
		return p.Refuse
	}
	walk := newWalker(r)
	c := converter{plan: p, w: w, part: -1}
	for {
		pc, err := walk.next()
		if err == io.EOF {
			return c.endBody(true)
		}
		if err != nil {
			return err
		}
		if err := c.piece(pc); err != nil {
			return err
		}
	}
}

// converter writes a message piece by piece.
type converter struct {
	plan *Plan
	w    io.Writer
	out  []byte // the converted form of one piece, used again

	part    int // whose body is being encoded; -1 outside
	quoted  quotedWriter
	b64     io.WriteCloser
	lines   *lineWriter
	newline bool // of the body's last line, held until it is known to be the body's
}

func (c *converter) piece(pc piece) error {
	if c.part >= 0 && (pc.kind != body || pc.part != c.part) {
		if err := c.endBody(false); err != nil {
			return err
		}
	}
	act := asIs
	if pc.kind != pad && pc.kind != delimiter && pc.part < len(c.plan.actions) {
		act = c.plan.actions[pc.part]
	}
	b := pc.bytes
	switch pc.kind {
	case field:
		if act != asIs && act != repair && pc.cte {
			return nil
		}
	case headerEnd:
		b = append(c.added(c.out[:0], pc.part, act), b...)
		c.out = b
	case pad, delimiter:
		b = c.mask(b)
	case body:
		return c.body(pc, act)
	}
	_, err := c.w.Write(b)
	return err
}

// added gives the fields that a converted part needs.
func (c *converter) added(b []byte, n int, act action) []byte {
	if n >= len(c.plan.actions) {
		return b
	}
	if c.plan.version[n] {
		b = append(b, "MIME-Version: 1.0\n"...)
	}
	if c.plan.ctype[n] {
		b = append(b, "Content-Type: text/plain; charset=unknown-8bit\n"...)
	}
	switch act {
	case toQuoted:
		b = append(b, "Content-Transfer-Encoding: quoted-printable\n"...)
	case toBase64:
		b = append(b, "Content-Transfer-Encoding: base64\n"...)
	}
	return b
}

// mask puts "?" for 8-bit bytes where nobody reads them.
func (c *converter) mask(b []byte) []byte {
	if !mail.HasEight(b) {
		return b
	}
	c.out = append(c.out[:0], b...)
	for i, x := range c.out {
		if x >= 0x80 {
			c.out[i] = '?'
		}
	}
	return c.out
}

func (c *converter) body(pc piece, act action) (err error) {
	switch act {
	case toQuoted, repair:
		if c.part < 0 {
			c.part, c.quoted = pc.part, quotedWriter{repair: act == repair}
		}
		c.out = c.quoted.append(c.out[:0], pc.bytes)
		_, err = c.w.Write(c.out)
	case toBase64:
		if c.part < 0 {
			c.part, c.lines = pc.part, &lineWriter{w: c.w}
			c.b64 = base64.NewEncoder(base64.StdEncoding, c.lines)
		}
		// Lines of 8bit content are CRLF lines: that is what is encoded (RFC 2045 6.8).
		b := c.out[:0]
		if c.newline {
			b = append(b, '\r', '\n')
		}
		if c.newline = pc.bytes[len(pc.bytes)-1] == '\n'; c.newline {
			pc.bytes = pc.bytes[:len(pc.bytes)-1]
		}
		c.out = append(b, pc.bytes...)
		_, err = c.b64.Write(c.out)
	default:
		_, err = c.w.Write(pc.bytes)
	}
	return err
}

// endBody ends an encoded body. The line end before a boundary is the boundary's; at the end
// of the message it is the body's.
func (c *converter) endBody(atEnd bool) (err error) {
	if c.part < 0 {
		return nil
	}
	c.part = -1
	if c.b64 == nil {
		_, err = c.w.Write(c.quoted.end(c.out[:0]))
		return err
	}
	if atEnd && c.newline {
		_, err = c.b64.Write([]byte("\r\n"))
	}
	c.newline = false
	b := c.b64
	c.b64 = nil
	if e := b.Close(); err == nil {
		err = e
	}
	if e := c.lines.end(); err == nil {
		err = e
	}
	return err
}
