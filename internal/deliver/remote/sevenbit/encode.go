package sevenbit

import "io"

// maxLine is the length of an encoded line without its end (RFC 2045 6.7, 6.8).
const maxLine = 76

// quotedWriter writes quoted-printable, RFC 2045 6.7. With repair what it reads is
// quoted-printable already, and only bytes above 127 are encoded.
type quotedWriter struct {
	repair bool
	column int
	blank  byte // white space that may turn out to end the line; 0 for none
}

const hex = "0123456789ABCDEF"

// append appends the encoded form of p, which may be any piece of the content.
func (q *quotedWriter) append(b, p []byte) []byte {
	for _, c := range p {
		if c == '\n' {
			b = q.end(b)
			b = append(b, '\n')
			q.column = 0
			continue
		}
		if q.blank != 0 {
			b = q.literal(b, q.blank)
			q.blank = 0
		}
		switch {
		case c == ' ' || c == '\t':
			if q.repair {
				b = q.literal(b, c)
			} else {
				q.blank = c
			}
		case c >= 0x80, !q.repair && (c < ' ' || c == '=' || c == 0x7f):
			b = q.escape(b, c)
		default:
			b = q.literal(b, c)
		}
	}
	return b
}

// end ends a line or the content: white space there must be encoded.
func (q *quotedWriter) end(b []byte) []byte {
	if q.blank != 0 {
		b = q.escape(b, q.blank)
		q.blank = 0
	}
	return b
}

func (q *quotedWriter) literal(b []byte, c byte) []byte {
	// What is repaired keeps its own lines: a break inside "=3D" would spoil it.
	if !q.repair {
		b = q.room(b, 1)
	}
	q.column++
	return append(b, c)
}

func (q *quotedWriter) escape(b []byte, c byte) []byte {
	b = q.room(b, 3)
	q.column += 3
	return append(b, '=', hex[c>>4], hex[c&15])
}

// room breaks the line softly when it has no room for n more characters.
func (q *quotedWriter) room(b []byte, n int) []byte {
	if q.column+n < maxLine {
		return b
	}
	q.column = 0
	return append(b, '=', '\n')
}

// lineWriter breaks base64 into lines.
type lineWriter struct {
	w      io.Writer
	column int
}

// Write writes p with a line end after each 76 characters.
func (l *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), maxLine-l.column)
		if _, err := l.w.Write(p[:take]); err != nil {
			return 0, err
		}
		p = p[take:]
		if l.column += take; l.column == maxLine {
			if _, err := l.w.Write([]byte{'\n'}); err != nil {
				return 0, err
			}
			l.column = 0
		}
	}
	return n, nil
}

// end ends the last line.
func (l *lineWriter) end() error {
	if l.column == 0 {
		return nil
	}
	l.column = 0
	_, err := l.w.Write([]byte{'\n'})
	return err
}
