package main

import (
	"testing"

	"github.com/postilion/postilion/internal/dispatch"
)

func TestWhatIsStoppedWhileItIsDeliveredIsToldApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb             dispatch.Verb
		changed, running int
		want             string
	}{
		{dispatch.Bounce, 3, 0, ""},
		{dispatch.Bounce, 1, 1, " unless the delivery under way succeeds"},
		{dispatch.Bounce, 3, 2, ", 2 of them unless the delivery under way succeeds"},
		{dispatch.Delete, 3, 1, "; 1 of them may still arrive: the delivery under way goes on"},
		{dispatch.Hold, 3, 1, ", 1 of them once the delivery under way has ended"},
	} {
		if got := underWay(c.verb, dispatch.Acted{Changed: c.changed, Running: c.running}); got != c.want {
			t.Errorf("%s, %d of %d: %q, want %q", c.verb, c.running, c.changed, got, c.want)
		}
	}
}

func TestWhichOfSeveralRecipientsIsEditedMustBeSaid(t *testing.T) {
	t.Parallel()
	done := dispatch.Recipient{N: 0, To: "a@x.test", State: "done"}
	ann, joe := dispatch.Recipient{N: 1, To: "ann@x.test", State: "waiting"}, dispatch.Recipient{N: 2, To: "joe@x.test", State: "running"}
	for _, c := range []struct {
		m    dispatch.Info
		n    int
		want string
	}{
		{m: dispatch.Info{Recipients: []dispatch.Recipient{ann}}, n: 1},
		{m: dispatch.Info{Recipients: []dispatch.Recipient{done, joe}}, n: 2},
		{m: dispatch.Info{Recipients: []dispatch.Recipient{done}}},
		{m: dispatch.Info{Recipients: []dispatch.Recipient{done, ann, joe}}, want: "which recipient? Name one by --recipient: 1 is ann@x.test, 2 is joe@x.test"},
		{m: dispatch.Info{Recipients: []dispatch.Recipient{ann}, More: 1}, want: "which recipient? Name one by --recipient: 1 is ann@x.test, …"},
	} {
		n, err := onlyRecipient(c.m)
		if n != c.n || (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%+v: %d, %v, want %d, %q", c.m.Recipients, n, err, c.n, c.want)
		}
	}
}
