// Package id makes the identifiers of sessions, messages and delivery attempts.
//
// An ID is 128 bits: 48 of Unix milliseconds, 16 of node, 64 random, big endian,
// so that IDs sort by time and never meet. Its text is 26 characters of
// Crockford's base 32 in lower case, which sorts the same way and is safe in
// replies, header fields, file names and logs.
package id

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/clock"
)

// ID is one identifier. The zero ID stands for "none".
type ID [16]byte

// TextLen is the length of an ID's text in bytes.
const TextLen = 26

var encoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// Source makes IDs for one node. The zero Source is node 0 on the system clock.
// It is safe for concurrent use.
type Source struct {
	Clock clock.Clock
	Node  uint16
}

// New returns a fresh ID.
func (s Source) New() ID {
	now := time.Now
	if s.Clock != nil {
		now = s.Clock.Now
	}
	var v ID
	rand.Read(v[6:]) // never fails: crypto/rand.Read
	binary.BigEndian.PutUint64(v[:8], uint64(now().UnixMilli())<<16|uint64(s.Node))
	return v
}

// Time returns the millisecond the ID was made in, in UTC.
func (v ID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(v[:8]) >> 16)).UTC()
}

// IsZero reports whether v is the zero ID.
func (v ID) IsZero() bool { return v == ID{} }

// String returns the ID's text, TextLen bytes long.
func (v ID) String() string { return encoding.EncodeToString(v[:]) }

// Append appends the ID's text to b.
func (v ID) Append(b []byte) []byte { return encoding.AppendEncode(b, v[:]) }

// MarshalText implements encoding.TextMarshaler.
func (v ID) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *ID) UnmarshalText(text []byte) (err error) {
	*v, err = Parse(string(text))
	return err
}

// Parse reads an ID's text; letter case does not matter. The error names the text.
func Parse(s string) (ID, error) {
	var v ID
	if len(s) != TextLen {
		return v, fmt.Errorf("id %q: want %d characters, have %d", s, TextLen, len(s))
	}
	if _, err := encoding.Decode(v[:], []byte(strings.ToLower(s))); err != nil {
		return ID{}, fmt.Errorf("id %q: want digits and letters without i, l, o, u", s)
	}
	return v, nil
}
