package inject

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/trace"
)

// brew makes the events of a message to two recipients of one host and one of another, in two attempts.
func brew() (queue, remote []trace.Event) {
	var ids id.Source
	m, one, two := ids.New(), ids.New(), ids.New()
	add := func(k trace.Kind, a id.ID, n int, count int64) {
		queue = append(queue, trace.Event{Kind: k, Role: "remote", Message: m, Attempt: a, N: n, Count: count, Text: string(k) + strconv.Itoa(n)})
	}
	say := func(a id.ID, text string) {
		remote = append(remote, trace.Event{Kind: trace.Dialogue, Role: "remote", Message: m, Attempt: a, Text: text})
	}
	for n := range 3 {
		add(trace.Routed, id.ID{}, n, 0)
	}
	add(trace.Attempt, one, 0, 2)
	add(trace.Attempt, one, 1, 2)
	add(trace.Attempt, two, 2, 1)
	add(trace.Delivered, one, 0, 0)
	add(trace.Failed, one, 1, 0)
	add(trace.Deferred, two, 2, 0)
	say(one, "one MAIL")
	say(two, "two MAIL")
	say(one, "one DATA")
	say(one, "")
	say(two, "two RSET")
	say(two, "")
	return queue, remote
}

func TestStepsOfARecipientComeInOrderHoweverTheRolesTellThem(t *testing.T) {
	t.Parallel()
	queue, remote := brew()
	ways := 0
	var walk func(path []trace.Event, q, r int)
	walk = func(path []trace.Event, q, r int) {
		if q == len(queue) && r == len(remote) {
			ways++
			checkOrder(t, path)
			return
		}
		if q < len(queue) {
			walk(append(path[:len(path):len(path)], queue[q]), q+1, r)
		}
		if r < len(remote) {
			walk(append(path[:len(path):len(path)], remote[r]), q, r+1)
		}
	}
	walk(nil, 0, 0)
	if ways != 5005 { // 15 over 6
		t.Errorf("%d ways were tried", ways)
	}
}

// checkOrder feeds events and looks at what comes out.
func checkOrder(t *testing.T, path []trace.Event) {
	t.Helper()
	var o order
	var told []string
	for _, e := range path {
		for _, x := range o.add(e) {
			told = append(told, x.Text)
		}
	}
	if o.holds() || len(told) != 13 {
		t.Fatalf("%q; held %d", told, o.held)
	}
	all := " " + strings.Join(told, ", ") + ","
	for _, line := range [][]string{
		{"routed0", "attempt0", "one MAIL", "one DATA", "delivered0", "failed1", "deferred2"},
		{"routed1", "attempt1", "one MAIL", "one DATA", "failed1"},
		{"routed2", "attempt2", "two MAIL", "two RSET", "deferred2"},
	} {
		at := -1
		for _, word := range line {
			next := strings.Index(all, " "+word+",")
			if next <= at {
				t.Fatalf("%s is not after what belongs before it: %s", word, all)
			}
			at = next
		}
	}
}

func TestWhatWasLostIsNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	queue, remote := brew()
	var o order
	var told []string
	take := func(list []trace.Event) {
		for _, e := range list {
			told = append(told, e.Text)
		}
	}
	take(o.add(remote[0]))
	for _, e := range queue { // no attempt's end comes
		take(o.add(e))
	}
	if !o.holds() {
		t.Error("nothing waits")
	}
	take(o.all())
	want := []string{"routed0", "routed1", "routed2", "attempt0", "attempt1", "one MAIL", "attempt2", "delivered0", "failed1", "deferred2"}
	if d := cmp.Diff(want, told); d != "" || o.holds() {
		t.Error(d, o.held)
	}
	if got := o.add(queue[6]); len(got) != 1 {
		t.Errorf("%v: it is waited for again", got)
	}
	for range maxWaiting + 1 {
		take(o.add(trace.Event{Kind: trace.Dialogue, Attempt: id.Source{}.New(), Text: "x"}))
	}
	if o.held > maxWaiting {
		t.Errorf("%d wait", o.held)
	}
}
