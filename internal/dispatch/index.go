package dispatch

import (
	"hash/maphash"

	"github.com/postilion/postilion/internal/id"
)

// index finds values by their IDs. It is a table of numbers alone, with open addressing, at least half of which
// but for a few is free: six to eleven bytes a value where a map takes thirty to fifty.
type index struct {
	of    func(number) id.ID
	seed  maphash.Seed
	slots []number // a power of two long
	n     int
}

// leastSlots is how long the table is at least.
const leastSlots = 1 << 10

func newIndex(of func(number) id.ID) index {
	return index{of: of, seed: maphash.MakeSeed(), slots: make([]number, leastSlots)}
}

// home is the slot where the search for an ID begins.
func (x *index) home(v id.ID) int {
	return int(maphash.Bytes(x.seed, v[:]) & uint64(len(x.slots)-1))
}

func (x *index) after(slot int) int { return (slot + 1) & (len(x.slots) - 1) }

// slot returns where an ID is, or the free slot where it belongs.
func (x *index) slot(v id.ID) int {
	i := x.home(v)
	for x.slots[i] != 0 && x.of(x.slots[i]) != v {
		i = x.after(i)
	}
	return i
}

// find returns the number of the value with an ID; 0 when there is none.
func (x *index) find(v id.ID) number { return x.slots[x.slot(v)] }

// add enters a value whose ID is not there.
func (x *index) add(n number) {
	if x.n++; 3*x.n > 2*len(x.slots) {
		x.resize(2 * len(x.slots))
	}
	x.slots[x.slot(x.of(n))] = n
}

// remove takes a value out, which is still to be asked for its ID.
func (x *index) remove(v id.ID) {
	free := x.slot(v)
	if x.slots[free] == 0 {
		return
	}
	// What could not have its own slot moves up, so that every search still meets no gap.
	for i := x.after(free); x.slots[i] != 0; i = x.after(i) {
		home := x.home(x.of(x.slots[i]))
		if (i-home)&(len(x.slots)-1) >= (i-free)&(len(x.slots)-1) {
			x.slots[free], free = x.slots[i], i
		}
	}
	x.slots[free] = 0
	if x.n--; x.n < len(x.slots)/8 && len(x.slots) > leastSlots {
		x.resize(len(x.slots) / 2)
	}
}

// resize makes the table as long as told: a million values take some 50 ms, once each time that they double.
func (x *index) resize(length int) {
	old := x.slots
	x.slots = make([]number, length)
	for _, n := range old {
		if n != 0 {
			x.slots[x.slot(x.of(n))] = n
		}
	}
}
