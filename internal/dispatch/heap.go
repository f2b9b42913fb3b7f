package dispatch

// order is what a heap goes by. It is told each element's place, so that one can be
// taken out of the middle.
type order[E any] interface {
	before(a, b E) bool
	moved(e E, to int32)
}

// out is the place of what is in no heap.
const out = -1

// heap is a binary heap whose first element comes before all others.
type heap[E any] []E

func (h *heap[E]) push(o order[E], e E) {
	*h = append(*h, e)
	o.moved(e, int32(len(*h)-1))
	h.up(o, len(*h)-1)
}

// remove takes out the element at a place.
func (h *heap[E]) remove(o order[E], place int32) {
	var none E
	i, last := int(place), len(*h)-1
	h.swap(o, i, last)
	o.moved((*h)[last], out)
	(*h)[last] = none
	*h = (*h)[:last]
	if i < last {
		h.fix(o, place)
	}
	if cap(*h) > 1024 && len(*h) < cap(*h)/4 {
		*h = append(make(heap[E], 0, cap(*h)/2), *h...)
	}
}

// fix puts the element at a place where it belongs after it changed.
func (h heap[E]) fix(o order[E], place int32) {
	h.down(o, int(place))
	h.up(o, int(place))
}

func (h heap[E]) up(o order[E], i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !o.before(h[i], h[p]) {
			return
		}
		h.swap(o, i, p)
		i = p
	}
}

func (h heap[E]) down(o order[E], i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && o.before(h[c+1], h[c]) {
			c++
		}
		if !o.before(h[c], h[i]) {
			return
		}
		h.swap(o, i, c)
		i = c
	}
}

func (h heap[E]) swap(o order[E], i, j int) {
	h[i], h[j] = h[j], h[i]
	o.moved(h[i], int32(i))
	o.moved(h[j], int32(j))
}
