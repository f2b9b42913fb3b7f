package dispatch

import (
	"iter"
	"math/bits"
)

// This file keeps a million small things so that the garbage collector has nothing to
// mark. Values without pointers lie in blocks, and who means one keeps its number. The rule:
// a number is used only between add and remove.

// number names a value of an arena; 0 names none.
type number = uint32

// blockLen is how many values a block holds.
const blockLen = 256

// arena keeps values of one type, which should hold no pointers, by number. A value never
// moves, so what at returns stays good until remove. Blocks without values give their memory back,
// but for the one that is filled next. The zero arena is empty.
type arena[T any] struct {
	blocks []*[blockLen]T
	used   []places
	room   []uint32 // blocks with a free place; the last one is filled next
	n      int      // values kept
}

// places are those of a block that are used.
type places struct {
	bits  [blockLen / 64]uint64
	count int32
}

// add keeps v and returns its number.
func (a *arena[T]) add(v T) number {
	if len(a.room) == 0 {
		a.room = append(a.room, uint32(len(a.blocks)))
		a.blocks = append(a.blocks, nil)
		a.used = append(a.used, places{})
		if len(a.used) == 1 {
			a.used[0].take() // 0 names none
		}
	}
	b := a.room[len(a.room)-1]
	if a.blocks[b] == nil {
		a.blocks[b] = new([blockLen]T)
	}
	i := a.used[b].take()
	if a.used[b].count == blockLen {
		a.room = a.room[:len(a.room)-1]
	}
	a.blocks[b][i] = v
	a.n++
	return b*blockLen + i
}

// at returns the value of a number.
func (a *arena[T]) at(n number) *T { return &a.blocks[n/blockLen][n%blockLen] }

// remove forgets a value.
func (a *arena[T]) remove(n number) {
	var zero T
	*a.at(n) = zero
	a.n--
	b := n / blockLen
	p := &a.used[b]
	p.bits[n%blockLen/64] &^= 1 << (n % 64)
	p.count--
	if p.count == blockLen-1 { // it has room again, and is filled next
		if len(a.room) > 0 {
			a.shrink(a.room[len(a.room)-1])
		}
		a.room = append(a.room, b)
	} else if b != a.room[len(a.room)-1] {
		a.shrink(b)
	}
}

// shrink gives a block's memory back if nothing is in it.
func (a *arena[T]) shrink(b uint32) {
	if a.used[b].count == 0 {
		a.blocks[b] = nil
	}
}

// all yields every value. The one it has yielded may be removed.
func (a *arena[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for b := range a.blocks {
			for v := range a.block(b) {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// block yields the values of one block.
func (a *arena[T]) block(b int) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for word, set := range a.used[b].bits {
			for ; set != 0; set &= set - 1 {
				i := word*64 + bits.TrailingZeros64(set)
				if (b > 0 || i > 0) && !yield(&a.blocks[b][i]) {
					return
				}
			}
		}
	}
}

// take marks a free place as used and returns it.
func (p *places) take() uint32 {
	for word := range p.bits {
		if free := ^p.bits[word]; free != 0 {
			i := bits.TrailingZeros64(free)
			p.bits[word] |= 1 << i
			p.count++
			return uint32(word*64 + i)
		}
	}
	panic("dispatch: a full block was asked for a place") // its number was in room
}

// lists keeps lists of numbers, each named by its first cell; 0 names the empty list.
type lists struct{ cells arena[cell] }

type cell struct {
	value uint32
	next  number
}

// add keeps a list.
func (l *lists) add(values []uint32) (list number) {
	for i := len(values) - 1; i >= 0; i-- {
		list = l.cells.add(cell{values[i], list})
	}
	return list
}

// of yields a list's values in order.
func (l *lists) of(list number) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for list != 0 {
			c := l.cells.at(list)
			if !yield(c.value) {
				return
			}
			list = c.next
		}
	}
}

// remove forgets a list.
func (l *lists) remove(list number) {
	for list != 0 {
		next := l.cells.at(list).next
		l.cells.remove(list)
		list = next
	}
}
