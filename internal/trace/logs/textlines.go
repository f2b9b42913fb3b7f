package logs

import (
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// textLines writes events as slog's TextHandler would, at a third of the cost: every message has two.
type textLines struct {
	w    io.Writer
	role string
	now  func() time.Time // nil is the host's
	free sync.Pool        // of *textLine
}

func (l *textLines) record(level slog.Level, e *trace.Event) {
	now := time.Now
	if l.now != nil {
		now = l.now
	}
	line, _ := l.free.Get().(*textLine)
	if line == nil {
		line = new(textLine)
	}
	*line = append((*line)[:0], "time="...)
	line.stamp(now())
	line.text("level", level.String())
	line.text("msg", string(e.Kind))
	line.text("role", l.role)
	eachField(e, line)
	*line = append(*line, '\n')
	l.w.Write(*line)
	l.free.Put(line)
}

// textLine is a line of key=value pairs.
type textLine []byte

func (t *textLine) key(key string) { *t = append(append(append(*t, ' '), key...), '=') }

func (t *textLine) text(key, v string) {
	t.key(key)
	switch formOf(v) {
	case bare:
		*t = append(*t, v...)
	case between:
		*t = append(append(append(*t, '"'), v...), '"')
	default:
		*t = strconv.AppendQuote(*t, v)
	}
}

// form is how a value is written.
type form uint8

const (
	bare    form = iota // as it is
	between             // as it is, between quotes
	escaped             // it holds what would not be read, or shown, as it is
)

func formOf(v string) form {
	f, backslash := bare, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == ' ' || c == '=':
			f = between
		case c < ' ' || c == '"' || c == 0x7f:
			return escaped
		case c == '\\':
			backslash = true
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(v[i:])
			if r == utf8.RuneError || !unicode.IsPrint(r) {
				return escaped
			}
			i += n - 1
		}
	}
	if v == "" || f == between && backslash {
		return escaped
	}
	return f
}

func (t *textLine) ident(key string, v id.ID) {
	t.key(key)
	*t = v.Append(*t)
}

func (t *textLine) number(key string, v int64) {
	t.key(key)
	*t = strconv.AppendInt(*t, v, 10)
}

func (t *textLine) duration(key string, v time.Duration) {
	t.key(key)
	*t = append(*t, v.String()...)
}

func (t *textLine) time(key string, v time.Time) {
	t.key(key)
	t.stamp(v)
}

// stamp appends a time to the millisecond. RFC 3339 with nanoseconds is what package time formats fast; it drops zeros at the
// end, so a tenth of a millisecond makes four digits, of which the last goes.
func (t *textLine) stamp(v time.Time) {
	const most = len("2006-01-02T15:04:05.000")
	start := len(*t)
	*t = v.Truncate(time.Millisecond).Add(time.Millisecond/10).AppendFormat(*t, time.RFC3339Nano)
	*t = slices.Delete(*t, start+most, start+most+1)
}
