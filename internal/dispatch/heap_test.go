package dispatch

import (
	"cmp"
	"testing"

	"pgregory.net/rapid"
)

// card is an element that knows its place.
type card struct {
	value int
	place int32
}

type byValue struct{}

func (byValue) before(a, b *card) bool  { return a.value < b.value }
func (byValue) moved(c *card, to int32) { c.place = to }

func TestHeapsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var h heap[*card]
		in := map[*card]bool{}
		value := rapid.IntRange(0, 50)
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			what := rapid.IntRange(0, 3).Draw(rt, "what")
			if len(h) == 0 || what < 2 {
				x := &card{value.Draw(rt, "value"), out}
				h.push(byValue{}, x)
				in[x] = true
				continue
			}
			x := h[rapid.IntRange(0, len(h)-1).Draw(rt, "which")]
			if what == 2 {
				h.remove(byValue{}, x.place)
				delete(in, x)
				if x.place != out {
					rt.Fatal("what was taken out has a place")
				}
			} else {
				x.value = value.Draw(rt, "new value")
				h.fix(byValue{}, x.place)
			}
		}
		for last := (*card)(nil); len(h) > 0; {
			x := h[0]
			if last != nil && cmp.Less(x.value, last.value) || !in[x] || x.place != 0 {
				rt.Fatal("out of order")
			}
			last = x
			h.remove(byValue{}, 0)
			delete(in, x)
		}
		if len(in) > 0 {
			rt.Fatalf("%d lost", len(in))
		}
	})
}
