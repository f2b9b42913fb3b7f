package reason

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// What wraps the same words again says them once.
func TestACauseOfTheSameWordsIsToldOnce(t *testing.T) {
	t.Parallel()
	inner := NoDotQmail.With()
	if got := NoDotQmail.Because(inner).Error(); got != inner.Error() {
		t.Errorf("%q", got)
	}
	where := fmt.Errorf(".qmail:1: %s (#5.1.1)", inner.Text(English))
	if got := NoDotQmail.Because(where).Error(); got != where.Error() {
		t.Errorf("%q", got)
	}
	if got, want := TLSFailed.With("192.0.2.1", "bad certificate").Because(errors.New("bad certificate")).Error(), "TLS with 192.0.2.1 failed: bad certificate"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := NoDotQmail.Because(errors.New("x")).Error(), strings.TrimSuffix(inner.Text(English), ".")+": x"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
