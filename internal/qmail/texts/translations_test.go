package texts

import "testing"

func TestNoTranslationIsLeftOver(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for _, x := range All() {
		said[x.Cause], said[x.Remedy] = true, true
	}
	for _, table := range []map[string][2]string{deliveryWords, serviceWords} {
		for english := range table {
			if !said[english] {
				t.Errorf("%q is no cause or remedy of a text", english)
			}
		}
	}
	for english := range deliveryWords {
		if _, twice := serviceWords[english]; twice {
			t.Errorf("%q is translated twice", english)
		}
	}
}
