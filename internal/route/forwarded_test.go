package route

import (
	"context"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/mail"
)

func TestMailThatIsSentOnHasASenderOfOurs(t *testing.T) {
	t.Parallel()
	o := options()
	o.SRS, o.SRSSecret = "Example.test", "a long random text"
	r, err := New(o, newFake(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, own := range []string{"joe@example.test", "joe@alias.test", "nobody@example.test", ""} {
		if got, err := r.Sender(ctx, mail.ParseAddress(own)); err != nil || got.String() != own {
			t.Errorf("%q becomes %q, %v", own, got, err)
		}
	}
	from := mail.ParseAddress("ann@elsewhere.example")
	made, err := r.Sender(ctx, from)
	if err != nil || !strings.HasPrefix(made.Local, "SRS0=") || made.Domain != "example.test" {
		t.Fatal(made, err)
	}
	back, err := r.Route(ctx, made)
	if err != nil || summary(back) != "forward ann@elsewhere.example (local)" {
		t.Errorf("%s: %s, %v", made, summary(back), err)
	}
	forged := made
	forged.Local = strings.Replace(made.Local, "=ann", "=eve", 1)
	if back, err := r.Route(ctx, forged); err != nil || summary(back) != "refused 5.1.1 mailbox-unknown (local)" {
		t.Errorf("%s: %s, %v", forged, summary(back), err)
	}
	o.SRSSecret = "short"
	if _, err := New(o, newFake(), nil); err == nil || !strings.Contains(err.Error(), "srs_secret: want") {
		t.Error(err)
	}
}
