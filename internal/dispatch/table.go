package dispatch

import (
	"hash/maphash"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/id"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/queue"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/route"
)

// This file is the schedule in memory. A message is a few numbers and its tasks; a task
// is the recipients that share a destination and a due time. Both lie in arenas, without
// pointers: a million of them cost the garbage collector nothing. What is needed only
// of mail that is about to be worked on, envelopes and routes, is kept beside, by number.
//
// A lane holds the tasks of one destination and queue group: those waiting for their
// time and those that are due, each in a heap. Due lanes stand in rings that are
// served in turn. So no operation looks at more than one lane, and a destination
// with a million messages costs others nothing.

// instant is a time in nanoseconds since the dispatcher was made, on the monotonic
// clock: a jump of the wall clock moves nothing that is scheduled already.
type instant int64

// kind is the sort of work that a lane's tasks need; each has a limit of its own.
type kind uint8

const (
	routing kind = iota // the address is not resolved yet
	local               // a mailbox, or a forward
	user                // a user of the system: files and programs of the user's choice
	remote
	kinds
)

// message is an unfinished message. Whoever keeps one while mu is not held counts in busy.
type message struct {
	id      id.ID
	fence   uint64
	birth   instant // when it was accepted; negative for those from before the start
	self    number
	tasks   number // the first of those of unfinished recipients that wait, are due or run
	group   uint32 // in Dispatcher.groups
	domains marks  // of its recipients
	left    int32  // recipients not finished
	failed  int32  // of them, those given up whose bounce is not written
	busy    int32  // tasks in work or about to be, and others at work on it: the bounce waits for them
	prio    int8
	held    bool
	told    bool // the delay notice is done with
	gone    bool // finished or deleted; its number is free once it is not busy
}

// marks is a set of domains, four bits each: what lacks one of a domain's bits does not have the
// domain. It spares filters the reading of most envelopes.
type marks uint32

// marks returns those of one domain.
func (d *Dispatcher) marks(domain string) (m marks) {
	sum := maphash.String(d.seed, foldDomain(domain))
	for range 4 {
		m |= 1 << (sum % 32)
		sum >>= 5
	}
	return m
}

// sums are kept so that nobody who asks how the queue is walks over a million messages
// while deliveries wait.
type sums struct {
	recipients int // not finished
	held       int // messages
}

func (s *sums) add(m *message)    { s.change(m, 1) }
func (s *sums) remove(m *message) { s.change(m, -1) }

func (s *sums) change(m *message, by int) {
	s.recipients += by * int(m.left)
	if m.held {
		s.held += by
	}
}

// content is what is needed of a message only while it is worked on. Its fields are
// guarded by Dispatcher.mu; env's target is never written to.
type content struct {
	env    *mail.Envelope
	states []queue.RecipientState
	notes  map[int]note // what a bounce will tell beyond the state; lost in a crash
}

// note is the part of a verdict that is not in a RecipientState.
type note struct{ text, transcript string }

// place is where a task is.
type place uint8

const (
	nowhere place = iota // held
	waiting              // in lane.wait until its time
	ready                // in lane.ready, due
	parked               // in lane.wait of a paused domain
	running              // in a goroutine's hands
)

// task is a message's recipients that are worked on together.
type task struct {
	next       instant // due time
	self       number
	msg        number
	lane       number // in Dispatcher.lanes; 0: none
	recipients number // in Dispatcher.recipients
	pos        int32  // in the heap
	after      number // the neighbours among its message's tasks
	before     number
	where      place
	busy       bool // counted in its message's busy
	force      bool // an operator wants it tried now: the memory of dead destinations does not count
	giveUp     bool // an operator wants no further attempt
	dead       bool // its destination was left alone when it started
	dirty      bool // next is later than the store knows
}

// prep is a task's recipients, routed.
type prep struct {
	recipients []deliver.Recipient
	next       *route.NextHop
	targets    []mail.Address // of a forward
}

// dest is a place that deliveries go to, with what its replies taught.
type dest struct {
	key      string
	domain   string
	kind     kind
	schedule *schedule
	lanes    []*lane
	tasks    int // in its lanes or running
	running  int
	window   float64 // deliveries that may run at once
	failures int     // connection failures in a row
	until    instant // left alone until then
	wait     time.Duration
	err      *reason.Error // of the last connection failure
}

// group is a queue group.
type group struct {
	number  uint32
	name    string
	limit   int // 0: none
	running int
	paused  bool
	rings   [kinds][classes]ring
}

// group returns a queue group, made when it is new.
func (d *Dispatcher) group(name string) *group {
	for _, g := range d.groups {
		if g.name == name {
			return g
		}
	}
	g := &group{name: name, number: uint32(len(d.groups))}
	d.groups = append(d.groups, g)
	return g
}

type laneKey struct {
	dest  *dest // nil for routing
	group *group
}

// lane is the tasks of one destination in one group.
type lane struct {
	key        laneKey
	number     number
	wait       heap[number] // by time
	ready      heap[number] // by priority, then time
	due        instant      // of the first that waits
	timer      int32        // place in Dispatcher.timers, or out
	ring       *ring        // nil: nothing due, or the destination is full
	prev, next *lane
}

func (l *lane) kind() kind {
	if l.key.dest == nil {
		return routing
	}
	return l.key.dest.kind
}

// lanes are all lanes, by what they are for and by number.
type lanes struct {
	byKey map[laneKey]*lane
	all   []*lane // by number; nil: free
	free  []number
}

// add numbers a new lane. One for a paused domain has no key.
func (s *lanes) add(key laneKey) *lane {
	l := &lane{key: key, timer: out}
	switch last := len(s.free) - 1; {
	case last >= 0:
		l.number, s.free = s.free[last], s.free[:last]
	case len(s.all) == 0:
		s.all = append(s.all, nil) // 0 names none
		fallthrough
	default:
		l.number = number(len(s.all))
		s.all = append(s.all, nil)
	}
	s.all[l.number] = l
	if key != (laneKey{}) {
		s.byKey[key] = l
	}
	return l
}

// remove forgets a lane without tasks.
func (s *lanes) remove(l *lane) {
	delete(s.byKey, l.key)
	s.all[l.number] = nil
	s.free = append(s.free, l.number)
}

// classes of priority: above, at and below normal.
const classes = 3

func class(prio int8) int {
	switch {
	case prio > 0:
		return 0
	case prio == 0:
		return 1
	}
	return 2
}

// ring is the lanes with due tasks, served in turn.
type ring struct{ head *lane }

// add puts l last.
func (r *ring) add(l *lane) {
	l.ring = r
	if r.head == nil {
		r.head, l.prev, l.next = l, l, l
		return
	}
	last := r.head.prev
	l.prev, l.next = last, r.head
	last.next, r.head.prev = l, l
}

func (r *ring) remove(l *lane) {
	if l.next == l {
		r.head = nil
	} else {
		l.prev.next, l.next.prev = l.next, l.prev
		if r.head == l {
			r.head = l.next
		}
	}
	l.ring, l.prev, l.next = nil, nil, nil
}

// byTime orders tasks by when they are due.
type byTime struct{ tasks *arena[task] }

func (o byTime) before(a, b number) bool  { return o.tasks.at(a).next < o.tasks.at(b).next }
func (o byTime) moved(t number, to int32) { o.tasks.at(t).pos = to }

// byUrgency orders tasks by priority, then by when they are due.
type byUrgency struct {
	byTime
	messages *arena[message]
}

func (o byUrgency) before(a, b number) bool {
	if p, q := o.messages.at(o.tasks.at(a).msg).prio, o.messages.at(o.tasks.at(b).msg).prio; p != q {
		return p > q
	}
	return o.byTime.before(a, b)
}

// byDue orders lanes by their first waiting task.
type byDue struct{}

func (byDue) before(a, b *lane) bool  { return a.due < b.due }
func (byDue) moved(l *lane, to int32) { l.timer = to }

// foldDomain returns the form that domains are compared in here.
func foldDomain(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
