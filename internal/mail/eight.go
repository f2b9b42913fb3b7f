package mail

import "encoding/binary"

// HasEight reports whether p holds a byte above 127. It looks at 64 bytes at a time: whole messages pass through it.
func HasEight(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 64 {
		b := (*[64]byte)(p)
		if (word(b[0:])|word(b[8:])|word(b[16:])|word(b[24:])|word(b[32:])|word(b[40:])|word(b[48:])|word(b[56:]))&high != 0 {
			return true
		}
		p = p[64:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
