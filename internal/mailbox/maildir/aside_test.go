package maildir_test

import (
	"testing"

	"github.com/postilion/postilion/internal/mailbox/maildir"
)

func TestARemovedMailboxIsKeptBesideANewOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, maildir.Options{})
	if aside, err := w.SetAside("example.test/joe", 7); aside != "" || err != nil {
		t.Errorf("without a mailbox: %q, %v", aside, err)
	}
	var asides []string
	for n := range byte(3) {
		w.deliver(t, "hello", maildir.Delivery{Mailbox: "example.test/joe", Message: message(n)})
		aside, err := w.SetAside("example.test/joe", 7)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := w.Scan("example.test/joe"); len(list) != 0 || err != nil {
			t.Errorf("the new mailbox holds %d messages, %v", len(list), err)
		}
		asides = append(asides, aside)
	}
	for i, want := range []string{"example.test/joe.removed-7", "example.test/joe.removed-7.2", "example.test/joe.removed-7.3"} {
		list, err := w.Scan(asides[i])
		if asides[i] != want || len(list) != 1 || err != nil {
			t.Errorf("set aside as %q with %d messages, %v; want %q with 1", asides[i], len(list), err, want)
		}
	}
	if _, err := w.SetAside("../joe", 7); err == nil {
		t.Error("a path outside of the root is taken")
	}
}
