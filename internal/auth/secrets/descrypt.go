package secrets

// crypt(3) of 1979, DES with a salt, and its extension by BSDi: forms that old
// password files still hold. FIPS 46-3 gives the tables; bits are numbered from 1 at
// the left as there. It is for checking only and refuses nothing for speed.

import (
	"crypto/subtle"
	"errors"
	"strings"
)

const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// maxDESCount bounds the extended form's iterations: about a second.
const maxDESCount = 1 << 18

var errDESForm = errors.New("want 13 characters of ./0-9A-Za-z, or 20 that begin with _")

// desHash is a parsed form.
type desHash struct {
	encoded  string
	setting  string // what the hash follows
	salt     uint32
	count    int
	extended bool
}

func parseDES(s string) (*desHash, error) {
	h := &desHash{encoded: s, count: 25}
	rest := s
	switch {
	case len(s) == 13:
		h.setting = s[:2]
	case len(s) == 20 && s[0] == '_':
		h.setting, h.extended, rest = s[:9], true, s[1:]
	default:
		return nil, errDESForm
	}
	for i := range len(rest) {
		if strings.IndexByte(cryptAlphabet, rest[i]) < 0 {
			return nil, errDESForm
		}
	}
	if h.extended {
		h.count = int(cryptNumber(rest[:4]))
		h.salt = cryptNumber(rest[4:8])
	} else {
		h.salt = cryptNumber(rest[:2])
	}
	if h.count == 0 || h.count > maxDESCount {
		return nil, errors.New("want at most 262144 iterations")
	}
	return h, nil
}

// cryptNumber reads 6 bits a character, the lowest first.
func cryptNumber(s string) (n uint32) {
	for i := range len(s) {
		n |= uint32(strings.IndexByte(cryptAlphabet, s[i])) << (6 * i)
	}
	return n
}

func (h *desHash) match(password string) bool {
	return subtle.ConstantTimeCompare([]byte(h.setting+h.hash(password)), []byte(h.encoded)) == 1
}

// hash returns the 11 characters that follow the setting.
func (h *desHash) hash(password string) string {
	if i := strings.IndexByte(password, 0); i >= 0 {
		password = password[:i] // as C strings end
	}
	key := desKey(password)
	for h.extended && len(password) > 8 {
		password = password[8:]
		key = desCrypt(key, desSchedule(key), 0, 1) ^ desKey(password)
	}
	out := desCrypt(0, desSchedule(key), h.salt, h.count)
	var text [11]byte
	for i := range text {
		// 66 bits from the left, the last two zero.
		shift := 58 - 6*i
		six := out << 2
		if shift >= 0 {
			six = out >> shift
		}
		text[i] = cryptAlphabet[six&63]
	}
	return string(text[:])
}

// desKey takes seven bits of each of eight characters.
func desKey(password string) (key uint64) {
	for i := range 8 {
		var c byte
		if i < len(password) {
			c = password[i]
		}
		key = key<<8 | uint64(c<<1)
	}
	return key
}

// permute picks bits of the low width bits of v.
func permute(v uint64, width int, table string) (out uint64) {
	for i := range len(table) {
		out = out<<1 | v>>(width-int(table[i]))&1
	}
	return out
}

func desSchedule(key uint64) (keys [16]uint64) {
	cd := permute(key, 64, desPC1)
	c, d := uint32(cd>>28), uint32(cd)&0xfffffff
	for i := range keys {
		n := 2
		if i == 0 || i == 1 || i == 8 || i == 15 {
			n = 1
		}
		c, d = (c<<n|c>>(28-n))&0xfffffff, (d<<n|d>>(28-n))&0xfffffff
		keys[i] = permute(uint64(c)<<28|uint64(d), 56, desPC2)
	}
	return keys
}

// desCrypt encrypts block count times, the halves of the expansion swapped where the
// salt has a bit.
func desCrypt(block uint64, keys [16]uint64, salt uint32, count int) uint64 {
	var swap uint64 // the salt's lowest bit stands for the expansion's leftmost
	for i := range 24 {
		swap |= uint64(salt>>i&1) << (23 - i)
	}
	v := permute(block, 64, desIP)
	l, r := uint32(v>>32), uint32(v)
	for range count {
		for _, key := range keys {
			e := permute(uint64(r), 32, desE)
			t := (e>>24 ^ e) & swap
			e ^= t | t<<24
			e ^= key
			var s uint64
			for i := range 8 {
				six := e >> (42 - 6*i) & 63
				s = s<<4 | uint64(desS[i][six&0x20|six<<4&0x10|six>>1&0xf])
			}
			l, r = r, l^uint32(permute(s, 32, desP))
		}
		l, r = r, l
	}
	return permute(uint64(l)<<32|uint64(r), 64, desFP)
}

// The tables of FIPS 46-3, each byte a bit's number.
const (
	desIP = "\x3a\x32\x2a\x22\x1a\x12\x0a\x02\x3c\x34\x2c\x24\x1c\x14\x0c\x04\x3e\x36\x2e\x26\x1e\x16\x0e\x06\x40\x38\x30\x28\x20\x18\x10\x08" +
		"\x39\x31\x29\x21\x19\x11\x09\x01\x3b\x33\x2b\x23\x1b\x13\x0b\x03\x3d\x35\x2d\x25\x1d\x15\x0d\x05\x3f\x37\x2f\x27\x1f\x17\x0f\x07"
	desFP = "\x28\x08\x30\x10\x38\x18\x40\x20\x27\x07\x2f\x0f\x37\x17\x3f\x1f\x26\x06\x2e\x0e\x36\x16\x3e\x1e\x25\x05\x2d\x0d\x35\x15\x3d\x1d" +
		"\x24\x04\x2c\x0c\x34\x14\x3c\x1c\x23\x03\x2b\x0b\x33\x13\x3b\x1b\x22\x02\x2a\x0a\x32\x12\x3a\x1a\x21\x01\x29\x09\x31\x11\x39\x19"
	desE = "\x20\x01\x02\x03\x04\x05\x04\x05\x06\x07\x08\x09\x08\x09\x0a\x0b\x0c\x0d\x0c\x0d\x0e\x0f\x10\x11" +
		"\x10\x11\x12\x13\x14\x15\x14\x15\x16\x17\x18\x19\x18\x19\x1a\x1b\x1c\x1d\x1c\x1d\x1e\x1f\x20\x01"
	desP   = "\x10\x07\x14\x15\x1d\x0c\x1c\x11\x01\x0f\x17\x1a\x05\x12\x1f\x0a\x02\x08\x18\x0e\x20\x1b\x03\x09\x13\x0d\x1e\x06\x16\x0b\x04\x19"
	desPC1 = "\x39\x31\x29\x21\x19\x11\x09\x01\x3a\x32\x2a\x22\x1a\x12\x0a\x02\x3b\x33\x2b\x23\x1b\x13\x0b\x03\x3c\x34\x2c\x24" +
		"\x3f\x37\x2f\x27\x1f\x17\x0f\x07\x3e\x36\x2e\x26\x1e\x16\x0e\x06\x3d\x35\x2d\x25\x1d\x15\x0d\x05\x1c\x14\x0c\x04"
	desPC2 = "\x0e\x11\x0b\x18\x01\x05\x03\x1c\x0f\x06\x15\x0a\x17\x13\x0c\x04\x1a\x08\x10\x07\x1b\x14\x0d\x02" +
		"\x29\x34\x1f\x25\x2f\x37\x1e\x28\x33\x2d\x21\x30\x2c\x31\x27\x38\x22\x35\x2e\x2a\x32\x24\x1d\x20"
)

// desS is the eight S-boxes, row by row.
var desS = [8][64]byte{
	{14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8,
		4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13},
	{15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5,
		0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9},
	{10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1,
		13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12},
	{7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9,
		10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14},
	{2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6,
		4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3},
	{12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8,
		9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13},
	{4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6,
		1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12},
	{13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2,
		7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11},
}
