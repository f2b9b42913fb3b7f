package qmail

import (
	"encoding/base32"
	"encoding/binary"
)

// ids is the alphabet of message ids (see package id).
var ids = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// MessageNumber returns the number that a message of that id goes by in qmail's lines and lists,
// where qmail has inode numbers: 62 bits of the id. ok is false when id is none.
func MessageNumber(id string) (n uint64, ok bool) {
	p, err := ids.DecodeString(id)
	if err != nil || len(p) != 16 {
		return 0, false
	}
	return NumberOf([16]byte(p)), true
}

// NumberOf is MessageNumber of an id that is not text.
func NumberOf(id [16]byte) uint64 {
	ms := binary.BigEndian.Uint64(id[:8]) >> 16
	return ms<<20&(1<<62-1) | uint64(binary.BigEndian.Uint32(id[12:])&(1<<20-1))
}
