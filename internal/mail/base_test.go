package mail

import "testing"

func TestTheBaseOfAPathPerRecipientIsTheSendersAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"owner-@host.test-@[]": "owner-@host.test", "a@host.test": "a@host.test", "#@[]": "#@[]", "owner-@[]": "owner-@[]", "": "", "a@b-@c.test": "a@b-@c.test",
	} {
		if got := ParseAddress(in).Base().String(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
