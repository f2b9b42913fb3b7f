package mail

import "encoding/binary"

// HasEight reports whether p holds a byte above 127. It looks at 32 bytes at a time: whole messages pass through it.
func HasEight(p []byte) bool {
	const high = 0x8080808080808080
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(p[at:]) }
	for len(p) >= 32 {
		if (word(0)|word(8)|word(16)|word(24))&high != 0 {
			return true
		}
		p = p[32:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
