package smtp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Reply is a server's answer to a command.
type Reply struct {
	Code     int      // 200–599
	Enhanced string   // RFC 2034 status code such as "2.1.5"; "" when the reply has none
	Lines    []string // the texts, without codes; at least one
}

// String returns the reply on one line for logs: "550 5.1.1 no such user". The text is the
// peer's, verbatim.
func (r Reply) String() string {
	s := strconv.Itoa(r.Code)
	if r.Enhanced != "" {
		s += " " + r.Enhanced
	}
	if t := strings.Join(r.Lines, " / "); t != "" {
		s += " " + t
	}
	return s
}

// Verbatim returns the reply as it came, lines separated by LF, at most limit bytes.
func (r Reply) Verbatim(limit int) string {
	var b []byte
	for i, l := range r.Lines {
		if i > 0 {
			b = append(b, '\n')
		}
		sep := byte('-')
		if i == len(r.Lines)-1 {
			sep = ' '
		}
		b = strconv.AppendInt(b, int64(r.Code), 10)
		b = append(b, sep)
		if r.Enhanced != "" {
			b = append(append(b, r.Enhanced...), ' ')
		}
		b = append(b, l...)
	}
	if len(b) > limit {
		b = b[:limit]
	}
	return string(b)
}

// Class returns the reply's first digit.
func (r Reply) Class() int { return r.Code / 100 }

// ReplyError is a reply that is none. Line is the offending line, cut to 200 bytes.
type ReplyError struct{ Line, Want string }

// Error names the line and what was expected.
func (e *ReplyError) Error() string {
	return fmt.Sprintf("not an SMTP reply: %q: want %s", e.Line, e.Want)
}

// ReadReply reads one reply of any number of lines. r's buffer bounds the length of a line;
// give it MaxReplyLine. The error is r's, io.ErrUnexpectedEOF within a reply, or
// *ReplyError. A line may end with LF alone, which is met and harmless here. Of a reply with more than
// MaxReplyLines lines the first are kept and the rest is passed over, up to MaxReply bytes.
func ReadReply(r *bufio.Reader) (Reply, error) {
	var reply Reply
	for n, size := 0, 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				return reply, replyError(line, "lines of at most "+strconv.Itoa(r.Size())+" bytes")
			}
			if err == io.EOF && (n > 0 || len(line) > 0) {
				err = io.ErrUnexpectedEOF
			}
			return reply, err
		}
		if size += len(line); size > MaxReply {
			return reply, replyError(line, "replies of at most "+strconv.Itoa(MaxReply)+" bytes")
		}
		line = line[:len(line)-1]
		if i := len(line) - 1; i >= 0 && line[i] == '\r' {
			line = line[:i]
		}
		last, err := reply.add(line, n < MaxReplyLines)
		if last || err != nil {
			return reply, err
		}
	}
}

// add takes in one line, without its end, and tells whether it was the last one. Its text is kept with keep.
func (r *Reply) add(line []byte, keep bool) (last bool, err error) {
	if len(line) < 3 || !isDigits(line[:3]) || line[0] < '2' || line[0] > '5' ||
		len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return false, replyError(line, "three digits and a space or hyphen")
	}
	code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if r.Code != 0 && code != r.Code {
		return false, replyError(line, "the same code on every line of a reply")
	}
	r.Code = code
	last = len(line) == 3 || line[3] == ' '
	if !keep {
		return last, nil
	}
	text := ""
	if len(line) > 4 {
		text = string(line[4:])
	}
	if e, rest := cutEnhanced(text); e != "" && e[0] == line[0] {
		if len(r.Lines) == 0 {
			r.Enhanced = e
		}
		text = rest
	}
	r.Lines = append(r.Lines, text)
	return last, nil
}

func replyError(line []byte, want string) error {
	return &ReplyError{string(line[:min(len(line), 200)]), want}
}

// cutEnhanced splits an RFC 2034 code off the front of a reply's text.
func cutEnhanced(text string) (code, rest string) {
	code, rest, _ = strings.Cut(text, " ")
	if !IsEnhanced(code) {
		return "", text
	}
	return code, rest
}

// IsEnhanced reports whether s is a status code of RFC 3463: class.subject.detail.
func IsEnhanced(s string) bool {
	if len(s) < 5 || len(s) > 9 || s[0] != '2' && s[0] != '4' && s[0] != '5' || s[1] != '.' {
		return false
	}
	subject, detail, ok := strings.Cut(s[2:], ".")
	return ok && len(subject) > 0 && len(subject) <= 3 && len(detail) > 0 && len(detail) <= 3 &&
		isDigits(subject) && isDigits(detail)
}

func isDigits[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) > 0
}

// AppendReply appends a reply's wire form to b. enhanced may be "". The lines must be free of CR
// and LF; see Text.
func AppendReply(b []byte, code int, enhanced string, lines ...string) []byte {
	for i, l := range lines {
		b = strconv.AppendInt(b, int64(code), 10)
		if i < len(lines)-1 {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if enhanced != "" {
			b = append(b, enhanced...)
			b = append(b, ' ')
		}
		b = append(b, l...)
		b = append(b, '\r', '\n')
	}
	return b
}
