package pebblestore

import (
	"sync"
	"sync/atomic"
)

// buffer is a body in memory, shared by the cache and the readers that have it
// open. Its memory is reused once all have released it.
type buffer struct {
	data []byte
	refs atomic.Int32
}

// Buffers come in sizes of 4 KiB times powers of two.
const (
	smallestBuffer = 4 << 10
	bufferSizes    = 6 // up to 128 KiB; larger ones are not kept
)

type buffers [bufferSizes]sync.Pool

// get returns an empty buffer with room for size bytes and one reference.
func (p *buffers) get(size int) *buffer {
	class, room := 0, smallestBuffer
	for room < size {
		class, room = class+1, room*2
	}
	var b *buffer
	if class < bufferSizes {
		b, _ = p[class].Get().(*buffer)
	}
	if b == nil {
		b = &buffer{data: make([]byte, 0, room)}
	}
	b.data = b.data[:0]
	b.refs.Store(1)
	return b
}

// release gives back a reference.
func (p *buffers) release(b *buffer) {
	if b == nil || b.refs.Add(-1) != 0 {
		return
	}
	for class, room := 0, smallestBuffer; class < bufferSizes; class, room = class+1, room*2 {
		if cap(b.data) == room {
			p[class].Put(b)
			return
		}
	}
}

// append adds data to b, which has one reference, and returns the buffer that holds both.
func (p *buffers) append(b *buffer, data []byte) *buffer {
	if len(b.data)+len(data) > cap(b.data) {
		larger := p.get(len(b.data) + len(data))
		larger.data = append(larger.data, b.data...)
		p.release(b)
		b = larger
	}
	b.data = append(b.data, data...)
	return b
}
