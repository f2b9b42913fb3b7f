package dispatch

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestAnArenaKeepsWhatWasAdded compares an arena with a map.
func TestAnArenaKeepsWhatWasAdded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var a arena[int]
		model := map[number]int{}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "add") {
				for range rapid.IntRange(1, 3*blockLen).Draw(rt, "how many") {
					v := len(model) * 7
					n := a.add(v)
					if _, twice := model[n]; twice || n == 0 {
						rt.Fatalf("the number %d was given", n)
					}
					model[n] = v
				}
			} else {
				for _, n := range some(rt, slices.Sorted(maps.Keys(model))) {
					a.remove(n)
					delete(model, n)
				}
			}
			checkArena(rt, &a, model)
		}
	})
}

// some draws a part of list: a row of it, or what is scattered over it.
func some[E any](rt *rapid.T, list []E) (out []E) {
	if len(list) == 0 {
		return nil
	}
	from := rapid.IntRange(0, len(list)-1).Draw(rt, "from")
	for i := from; i < len(list); i += rapid.IntRange(1, 3).Draw(rt, "step") {
		out = append(out, list[i])
	}
	return out
}

func checkArena(rt *rapid.T, a *arena[int], model map[number]int) {
	seen, blocks := 0, map[number]bool{0: true} // the place of number 0 is never free
	for n, v := range model {
		blocks[n/blockLen] = true
		if *a.at(n) != v {
			rt.Fatalf("%d is %d, want %d", n, *a.at(n), v)
		}
	}
	for range a.all() {
		seen++
	}
	if seen != len(model) || a.n != len(model) {
		rt.Fatalf("%d values are there and %d counted, want %d", seen, a.n, len(model))
	}
	kept := 0
	for _, b := range a.blocks {
		if b != nil {
			kept++
		}
	}
	if kept > len(blocks)+1 {
		rt.Fatalf("%d blocks are kept for values in %d", kept, len(blocks))
	}
}

func TestAListKeepsItsOrderAndLeavesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var l lists
		a := rapid.SliceOf(rapid.Uint32()).Draw(rt, "a")
		b := rapid.SliceOf(rapid.Uint32()).Draw(rt, "b")
		x := l.add(a)
		y := l.add(b)
		if got := slices.Collect(l.of(x)); !slices.Equal(got, a) {
			rt.Fatalf("%v, want %v", got, a)
		}
		l.remove(x)
		if got := slices.Collect(l.of(y)); !slices.Equal(got, b) {
			rt.Fatalf("%v, want %v", got, b)
		}
		l.remove(y)
		if l.cells.n != 0 {
			rt.Fatalf("%d cells are left", l.cells.n)
		}
	})
}

// TestTheScheduleHoldsNoPointers: what there is a million of must cost the collector nothing.
func TestTheScheduleHoldsNoPointers(t *testing.T) {
	t.Parallel()
	for _, v := range []any{message{}, task{}, cell{}} {
		if typ := reflect.TypeOf(v); pointers(typ) {
			t.Errorf("%v holds pointers", typ)
		}
	}
}

func pointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		for f := range t.NumField() {
			if pointers(t.Field(f).Type) {
				return true
			}
		}
		return false
	case reflect.Array:
		return pointers(t.Elem())
	}
	return t.Kind() > reflect.Complex128
}
