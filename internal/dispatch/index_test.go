package dispatch

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/postilion/postilion/internal/id"
)

// TestAnIndexFindsWhatWasAdded compares an index with a map.
func TestAnIndexFindsWhatWasAdded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ids := []id.ID{{}} // by number
		x := newIndex(func(n number) id.ID { return ids[n] })
		model := map[number]bool{}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "add") {
				for range rapid.IntRange(1, 2*leastSlots).Draw(rt, "how many") {
					n := number(len(ids))
					ids = append(ids, id.ID{0: byte(n), 1: byte(n >> 8), 2: byte(n >> 16)})
					x.add(n)
					model[n] = true
				}
			} else {
				for _, n := range some(rt, slices.Sorted(maps.Keys(model))) {
					x.remove(ids[n])
					x.remove(ids[n]) // which is nothing
					delete(model, n)
				}
			}
			for n := range ids {
				want := number(n)
				if !model[want] {
					want = 0
				}
				if got := x.find(ids[n]); n > 0 && got != want {
					rt.Fatalf("found %d, want %d", got, want)
				}
			}
			if x.n != len(model) || len(x.slots) > max(leastSlots, 16*len(model)) {
				rt.Fatalf("%d are counted, in %d slots; want %d", x.n, len(x.slots), len(model))
			}
		}
	})
}
