package dispatch

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestABoundedFilterSeesAndChangesItsPartAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _, stop := stuck(t)
		defer stop()
		ctx := context.Background()
		sent, mixed, foreign, whole := letter("joe@own.test", "a@far.test", "b@near.test"), letter("x@far.test", "c@own.test", "d@other.test"),
			letter("x@far.test", "e@other.test"), letter("x@far.test", "f@OWN.test")
		sent.Account, mixed.Account = "joe@own.test", "eve@other.test"
		h.send(t, sent)
		h.send(t, mixed)
		h.send(t, foreign)
		h.send(t, whole)
		synctest.Wait()
		own := func() Filter { return Filter{Within: []string{"own.test"}, By: "adam@own.test"} }
		seen := func() string {
			var out []string
			list, _, err := h.List(ctx, own(), 10, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				for _, r := range m.Recipients {
					out = append(out, r.To+" by "+m.Account)
				}
			}
			slices.Sort(out)
			return strings.Join(out, ", ")
		}
		if got, want := seen(), "a@far.test by joe@own.test, b@near.test by joe@own.test, c@own.test by , f@OWN.test by "; got != want {
			t.Errorf("seen is %q, want %q", got, want)
		}
		if messages, recipients, err := h.Count(ctx, own()); messages != 3 || recipients != 4 || err != nil {
			t.Errorf("counted %d, %d, %v", messages, recipients, err)
		}
		hidden := own()
		hidden.To = "d@other.test"
		if n, _, _ := h.Count(ctx, hidden); n != 0 {
			t.Error("a filter finds what is not to be seen")
		}
		if n, _, _ := h.Count(ctx, Filter{Within: []string{}}); n != 0 {
			t.Error("no domains at all see something")
		}
		act := func(f Filter, v Verb) int {
			n, err := h.Act(ctx, f, Action{Verb: v})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return n
		}
		// What is held is in the owner's hands; a message with others' recipients is not deleted.
		act(Filter{To: "f@own.test"}, Hold)
		if got := act(own(), Retry); got != 2 {
			t.Errorf("retry changed %d messages, want those that are not held", got)
		}
		if got := act(own(), Delete); got != 1 {
			t.Errorf("delete changed %d messages, want the one that joe sent", got)
		}
		if got := act(own(), Bounce); got != 1 {
			t.Errorf("bounce changed %d messages, want the mixed one", got)
		}
		var left []string
		list, _, err := h.List(ctx, Filter{}, 10, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			for _, r := range m.Recipients {
				if r.State == "waiting" {
					left = append(left, r.To)
				}
			}
		}
		slices.Sort(left)
		if got, want := strings.Join(left, " "), "d@other.test e@other.test f@OWN.test x@far.test"; got != want { // x is told of the bounce
			t.Errorf("left is %s, want %s", got, want)
		}
	})
}
