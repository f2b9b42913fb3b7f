// Package qmail holds the formats of the qmail family that other parts write or read:
// time stamps, dates, log text, netstrings, and in its folders the files of an installation. It does no I/O.
package qmail

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// TAIOffset is TAI minus UTC as the family's programs assume it: 2^62 + 10 s at the
// epoch, leap seconds ignored (qmail reference 21.6).
const TAIOffset = 1<<62 + 10

// AppendTAI64N appends t's external TAI64N label: "@" and 24 hexadecimal digits.
func AppendTAI64N(b []byte, t time.Time) []byte {
	var p [12]byte
	binary.BigEndian.PutUint64(p[:], uint64(t.Unix())+TAIOffset)
	binary.BigEndian.PutUint32(p[8:], uint32(t.Nanosecond()))
	b = append(b, '@')
	return hex.AppendEncode(b, p[:])
}

// ParseTAI64N reads a label, with or without further text behind it, and returns the
// time in UTC and that text. The error names what it found.
func ParseTAI64N(s string) (t time.Time, rest string, err error) {
	var p [12]byte
	if len(s) < 25 || s[0] != '@' {
		return t, s, fmt.Errorf("%.25q: want a TAI64N label, @ and 24 hexadecimal digits", s)
	}
	if _, err := hex.Decode(p[:], []byte(s[1:25])); err != nil {
		return t, s, fmt.Errorf("%.25q: want a TAI64N label, @ and 24 hexadecimal digits", s)
	}
	sec := int64(binary.BigEndian.Uint64(p[:]) - TAIOffset)
	return time.Unix(sec, int64(binary.BigEndian.Uint32(p[8:]))).UTC(), s[25:], nil
}

// AppendLogSafe appends text as qmail-send logs it: LF becomes "/", "%" and every byte
// that is not printable ASCII, the blank included, becomes "_" (qmail reference 3.5).
func AppendLogSafe(b []byte, text string) []byte {
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\n':
			b = append(b, '/')
		case c == '%' || c < 33 || c > 126:
			b = append(b, '_')
		default:
			b = append(b, c)
		}
	}
	return b
}
