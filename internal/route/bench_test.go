package route

import (
	"context"
	"testing"

	"github.com/postilion/postilion/internal/mail"
)

// The address of an account is what most mail is for: routing it must stay cheap whatever
// else is configured.
func BenchmarkAnAccount(b *testing.B) {
	r, err := New(options(), newFake(), nil)
	if err != nil {
		b.Fatal(err)
	}
	to := mail.ParseAddress("joe@example.test")
	b.ReportAllocs()
	for b.Loop() {
		if rt, err := r.Route(context.Background(), to); err != nil || rt.Kind != Mailbox {
			b.Fatal(rt, err)
		}
	}
}
