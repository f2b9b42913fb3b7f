package logs

import (
	"io"
	"log/slog"
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
	if quoted(v) {
		*t = strconv.AppendQuote(*t, v)
	} else {
		*t = append(*t, v...)
	}
}

// quoted reports whether a value holds what would not be read, or shown, as it is.
func quoted(v string) bool {
	for i := 0; i < len(v); {
		switch c := v[i]; {
		case c <= ' ' || c == '"' || c == '=' || c == 0x7f:
			return true
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRuneInString(v[i:])
			if r == utf8.RuneError || !unicode.IsPrint(r) {
				return true
			}
			i += n
		}
	}
	return v == ""
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

// stamp appends a time to the millisecond.
func (t *textLine) stamp(v time.Time) { *t = v.AppendFormat(*t, "2006-01-02T15:04:05.000Z07:00") }
