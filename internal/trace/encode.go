package trace

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/postilion/postilion/internal/id"
)

// AppendJSON appends the event as one JSON object with the field names of its tags, as
// encoding/json would write it, at a tenth of the cost. Bytes that are not UTF-8
// become the four characters \xNN.
func (e *Event) AppendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","kind":`...)
	b = appendString(b, string(e.Kind))
	b = str(b, "role", e.Role)
	b = ident(b, "session", e.Session)
	b = ident(b, "message", e.Message)
	b = ident(b, "attempt", e.Attempt)
	b = ident(b, "parent", e.Parent)
	if e.Tenant != 0 {
		b = append(b, `,"tenant":`...)
		b = strconv.AppendUint(b, e.Tenant, 10)
	}
	b = str(b, "account", e.Account)
	b = str(b, "client", e.Client)
	b = str(b, "helo", e.Helo)
	b = str(b, "tls", e.TLS)
	b = str(b, "from", e.From)
	b = str(b, "to", e.To)
	b = num(b, "n", int64(e.N))
	b = num(b, "size", e.Size)
	b = num(b, "count", e.Count)
	b = str(b, "host", e.Host)
	b = num(b, "code", int64(e.Code))
	b = str(b, "status", e.Status)
	b = str(b, "reason", e.Reason)
	b = str(b, "rule", e.Rule)
	b = str(b, "text", e.Text)
	b = num(b, "took", int64(e.Took))
	if !e.Next.IsZero() {
		b = append(b, `,"next":"`...)
		b = e.Next.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	return append(b, '}')
}

func name(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func str(b []byte, field, v string) []byte {
	if v == "" {
		return b
	}
	return appendString(name(b, field), v)
}

func num(b []byte, field string, v int64) []byte {
	if v == 0 {
		return b
	}
	return strconv.AppendInt(name(b, field), v, 10)
}

func ident(b []byte, field string, v id.ID) []byte {
	if v.IsZero() {
		return b
	}
	b = append(name(b, field), '"')
	b = v.Append(b)
	return append(b, '"')
}

const hex = "0123456789abcdef"

// harmless reports whether s is ASCII of which nothing needs an escape, as most strings are.
func harmless(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendString writes a JSON string (RFC 8259 7). Control characters, DEL and C1 are
// escaped, so that a line of events is safe on a terminal.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	if harmless(s) {
		b = append(b, s...)
		return append(b, '"')
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < 0x80:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				b = append(b, '\\', '\\', 'x', hex[c>>4], hex[c&15])
			case r < 0xa0 || r == '\u2028' || r == '\u2029':
				b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			default:
				b = append(b, s[i:i+n]...)
			}
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
