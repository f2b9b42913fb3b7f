package mail

import "testing"

func TestAnEighthBitIsSeenAnywhere(t *testing.T) {
	t.Parallel()
	for size := range 200 {
		p := make([]byte, size)
		for i := range p {
			p[i] = 0x7f
		}
		if HasEight(p) {
			t.Errorf("%d bytes of 7 bits have an eighth", size)
		}
		for i := range p {
			p[i] = 0x80
			if !HasEight(p) {
				t.Errorf("of %d bytes the one at %d has an eighth bit", size, i)
			}
			p[i] = 0x7f
		}
	}
}
