package reason

import "testing"

// What wraps the same words again says them once.
func TestACauseOfTheSameWordsIsToldOnce(t *testing.T) {
	t.Parallel()
	inner := NoDotQmail.With()
	if got := NoDotQmail.Because(inner).Error(); got != inner.Error() {
		t.Errorf("%q", got)
	}
}
