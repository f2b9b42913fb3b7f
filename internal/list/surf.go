package list

import (
	"encoding/binary"
	"strings"
)

// This file holds the hash behind everything that a list proves or files by: cookies of
// confirmations, names of bounce histories, threads of the archive. It is SURF (D. J. Bernstein,
// "SURF: simple unpredictable random function", 1997), summed over blocks of 32 bytes. Its
// results stand in files and mailed addresses, so it can never change.

// CookieLen is how many letters a cookie has, each of a to p (qmail reference 23.4).
const CookieLen = 20

type surfSeed [32]uint32

// surf maps twelve words to eight.
func surf(in *[12]uint32, seed *surfSeed) (out [8]uint32) {
	rotations := [4]int{5, 7, 9, 13}
	var t [12]uint32
	for i := range t {
		t[i] = in[i] ^ seed[12+i]
	}
	copy(out[:], seed[24:])
	x, sum := t[11], uint32(0)
	for range 2 {
		for range 16 {
			sum += 0x9e3779b9
			for i := range t {
				r := rotations[i%4]
				t[i] += ((x ^ seed[i]) + sum) ^ (x<<r | x>>(32-r))
				x = t[i]
			}
		}
		for i := range out {
			out[i] ^= t[4+i]
		}
	}
	return out
}

// digest sums SURF over a text cut into blocks, each numbered.
func digest(seed *surfSeed, text []byte) (h [32]byte) {
	text = append(text, '.')
	text = append(text, make([]byte, (32-len(text)%32)%32)...)
	var in [12]uint32
	var sum [8]uint32
	for ; len(text) > 0; text = text[32:] {
		for i := range 8 {
			in[i] = binary.LittleEndian.Uint32(text[4*i:])
		}
		for i := 8; i < 12; i++ { // the block's number, of 128 bits
			if in[i]++; in[i] != 0 {
				break
			}
		}
		for i, w := range surf(&in, seed) {
			sum[i] += w
		}
	}
	in = [12]uint32{}
	copy(in[:], sum[:])
	for i, w := range surf(&in, seed) {
		binary.LittleEndian.PutUint32(h[4*i:], w)
	}
	return h
}

func letters(h [32]byte) string {
	var b [CookieLen]byte
	for i := range b {
		b[i] = 'a' + h[i]&15
	}
	return string(b[:])
}

// Cookie returns the 20 letters by which who knows the key has allowed something: action (its
// first byte) for an address at a time.
func Cookie(key []byte, date, address string, action byte) string {
	var seed surfSeed
	for range 4 {
		h := digest(&seed, append([]byte(nil), key...))
		for i := range seed {
			seed[i] = seed[i]<<8 + uint32(h[i])
		}
	}
	text := make([]byte, 0, len(date)+len(address)+40)
	text = append(append(text, date...), 0)
	text = append(append(text, address...), 0)
	return letters(digest(&seed, append(text, action)))
}

// TextHash returns 20 letters for a text whatever its case, blanks and tabs: messages with the
// same one belong together.
func TextHash(text string) string {
	folded := make([]byte, 0, len(text)+32)
	for i := range len(text) {
		c := text[i]
		switch {
		case c == ' ' || c == '\t':
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		folded = append(folded, c)
	}
	return letters(digest(new(surfSeed), folded))
}

// AuthorHash returns 20 letters that messages of one author share: the address in a From field,
// without what follows a "-" in its local part.
func AuthorHash(from string) string {
	at := strings.LastIndexByte(from, '@')
	if at < 0 {
		return TextHash(from)
	}
	end := len(from)
	if i := strings.IndexAny(from[at+1:], "> ;"); i >= 0 {
		end = at + 1 + i
	}
	box := from[:at]
	if i := strings.LastIndexAny(box, "< ;"); i > 0 {
		// As in ezmlm's files, the character that ends the search belongs to the text.
		box = box[i:]
	}
	if i := strings.IndexByte(box, '-'); i >= 0 {
		box = box[:i]
	}
	return TextHash(box + from[at:end])
}
