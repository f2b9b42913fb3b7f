package pebblestore

import (
	"sync"

	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/pebblex"
)

// hot is what memory knows of a message that is being worked on: which
// recipients are final, which rows exist, and, if it is new and small, its body.
type hot struct {
	id    id.ID
	head  header
	left  int          // recipients that are not final
	state []uint8      // by recipient: the flags below
	body  *buffer      // nil when only the disk has it
	held  pebblex.Held // of a new message's body

	users      int // Finishes under way: it stays
	prev, next *hot
}

const (
	stateFinal   = 1 << iota // nothing is left to do for the recipient
	stateWritten             // there is a state row
	stateTwice               // it was written more than once
)

// hotMax bounds the recipients of all hot messages, of which each takes some 200 bytes without its body.
const hotMax = 1 << 16

// hotList keeps hot messages by id. The oldest go first, their bodies before the rest. Its user locks.
type hotList struct {
	byID       map[id.ID]*hot
	root       hot  // of the ring
	bodied     *hot // none before it has a body
	recipients int
	bytes      int64 // of bodies
	max        int64
	release    func(*buffer)
}

func (l *hotList) init(max int64, release func(*buffer)) {
	l.byID, l.max, l.release = map[id.ID]*hot{}, max, release
	l.root.prev, l.root.next, l.bodied = &l.root, &l.root, &l.root
}

func (l *hotList) add(h *hot) {
	l.drop(h.id)
	l.byID[h.id] = h
	h.prev, h.next = l.root.prev, &l.root
	h.prev.next, h.next.prev = h, h
	l.bytes += h.room()
	l.recipients += len(h.state)
	if l.bodied == &l.root {
		l.bodied = h
	}
	for ; l.bytes > l.max && l.bodied != h; l.bodied = l.bodied.next {
		l.cool(l.bodied)
	}
	for old := l.root.next; old != h && l.recipients > hotMax; {
		next := old.next
		if old.users == 0 {
			l.drop(old.id)
		}
		old = next
	}
}

// attached reports whether the body lies beside the rows, and not in a file.
func (h *hot) attached() bool { return h.head.spool == 0 && h.head.size > 0 }

func (h *hot) room() int64 {
	if h.body == nil {
		return 0
	}
	return int64(cap(h.body.data))
}

func (l *hotList) drop(message id.ID) {
	h := l.byID[message]
	if h == nil {
		return
	}
	if l.bodied == h {
		l.bodied = h.next
	}
	delete(l.byID, message)
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next = nil, nil
	l.recipients -= len(h.state)
	l.cool(h)
}

// cool lets go of a message's body.
func (l *hotList) cool(h *hot) {
	l.bytes -= h.room()
	if h.body != nil {
		l.release(h.body)
		h.body = nil
	}
}

// rowLocks lock messages by id: Finishes of one message share, Update and Delete
// exclude all others.
type rowLocks struct {
	mu sync.Mutex
	m  map[id.ID]*rowLock
}

type rowLock struct {
	sync.RWMutex
	users int
}

func (l *rowLocks) init() { l.m = map[id.ID]*rowLock{} }

func (l *rowLocks) get(message id.ID) *rowLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.m[message]
	if r == nil {
		r = new(rowLock)
		l.m[message] = r
	}
	r.users++
	return r
}

func (l *rowLocks) put(message id.ID, r *rowLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.users--; r.users == 0 {
		delete(l.m, message)
	}
}

// exclude takes the message for one caller alone; the caller calls the result.
func (l *rowLocks) exclude(message id.ID) (done func()) {
	r := l.get(message)
	r.Lock()
	return func() {
		r.Unlock()
		l.put(message, r)
	}
}
