package bounce

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/reason"
)

// TestVector29WhatAProgramSaidStandsAlone: an empty explanation is an empty paragraph.
func TestVector29WhatAProgramSaidStandsAlone(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"":                "<joe-hard@mx.test>:\n\n--- Below",
		"out\n":           "<joe-hard@mx.test>:\nout\n\n--- Below",
		"a\n\n<b@c>:\nd":  "<joe-hard@mx.test>:\na\n/\n<b@c>:\nd\n\n--- Below",
		"no (#5.7.1)\n\n": "<joe-hard@mx.test>:\nno (#5.7.1)\n\n--- Below",
	} {
		b := &Builder{Name: "mx.test"}
		to := mail.ParseAddress("joe-hard@mx.test")
		n := &Notice{
			Of:         &mail.Envelope{From: mail.ParseAddress("joe@mx.test"), Recipients: []mail.Recipient{{To: to}}},
			Recipients: []Outcome{{To: to, Action: Failed, Err: reason.ProgramRefused.With(said)}},
			Body:       func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x\n")), nil },
		}
		var out strings.Builder
		if err := b.Write(t.Context(), &out, b.Envelope(n, n.Of.ID, time.Now()), n); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q: no %q in\n%s", said, want, out.String())
		}
	}
}

func TestOnlyABounceCanBeUnmarked(t *testing.T) {
	t.Parallel()
	b := &Builder{Name: "mx.here.test", Options: Options{Unmarked: true}}
	for kind, want := range map[Kind]bool{Failure: false, Delay: true, Success: true} {
		_, got := write(t, b, notice(kind, "joe@here.test", failed("a@far.test")))
		if marked := strings.Contains(string(got), "\nAuto-Submitted: "); marked != want {
			t.Errorf("notice of kind %d: marked %v", kind, marked)
		}
	}
}
